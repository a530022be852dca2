"""Secrets that only their name gives away: `password=hunter2`, `"api_key": "..."`, `--token ...`, `Bearer ...`.

In running text the names of secrets also stand before words that are none (`token: str`, "the password is wrong"), so a
value must look like one: how much so depends on how it is tied to the name.
"""

from __future__ import annotations

import re

from tokentrace_core.redaction_labels import SECRET_PLACEHOLDER, is_telling, telling_key
from tokentrace_core.redaction_rule import WHOLE, Rule
from tokentrace_core.redaction_scans import telling_words
from tokentrace_core.redaction_sheet import TELLING, Region, Sheet, scan

#: `key`, `code` and their like tell nothing alone, but with the word before them.
_TWO_WORDS = re.compile(r"((?:mot de)|[A-Za-z]{2,16})[ ]\Z")
_HALF_KEYS = frozenset({"key", "keys", "phrase", "code", "string", "hash", "passe"})
#: They name a password only before what can be nothing else; else a test has passed.
_SHORT_NAMES = frozenset({"pass", "pw", "psk"})
_LIKE_A_PASSWORD = re.compile(r"(?=\S*\d)(?=\S*[^\W\d])[^\s/_.:]{6,}")
_PASSWORDS = re.compile(r"pass|pwd|[^\x00-\x7f]", re.IGNORECASE)

_QUOTE_BEHIND = re.compile(r"[\\\"'`*\])]{0,8}")
_TIE = re.compile(
    r"(?P<blank>(?: \([^()\n\0]{1,24}\))?[ \t]*)(?:(?P<sign>:=|=>|->|==?|:(?!:)|\|)(?:\*{1,2})?|(?P<comma>,)|(?P<tag>>)"
    r"|(?P<word>(?:is|was|are|to|as|of|from|will be|has been set to|set to|lautet|ist|est|es|è|é|är|er|jest)"
    r"(?: now| set to| jetzt)?(?=[ :])|是|は|為|为):?)?"
    r"(?P<gap>[ \t]*(?:\r?\n[ \t]*(?=[\"']))?)"
)
_QUOTED = re.compile(
    r"(?:[brfu]{0,2}(?:\"\"\"(?P<a>.+?)\"\"\"|'''(?P<b>.+?)'''"
    r"|\"(?P<c>(?:[^\"\\\n\0]++|\\.)++)\"|'(?P<d>(?:[^'\\\n\0]++|\\.)++)'|`(?P<e>[^`\n\0]++)`)"
    r"|(?P<q>\\{1,8}[\"'])(?P<f>[^\n\0]+?)(?P=q))",
    re.DOTALL,
)
_SCHEMES = r"(?:bearer|basic|token|digest|api-?key|key|negotiate|ntlm|bot|oauth|hawk|aws4-hmac-sha256|sso-key|splunk)"
_CREDENTIALS = re.compile(
    rf"(?:{_SCHEMES}[ +]+)?(?P<secret>(?<=aws4-hmac-sha256 )[^\"'\n\0]{{1,600}}|(?<=digest )[^\n\0]{{1,600}}"
    r"|[^\s\"'`,;<>\0\\)}\]]++)",
    re.IGNORECASE,
)
_BEARER = re.compile(r"[ \t:=+\"'\\]{1,4}(?P<secret>[A-Za-z0-9\-._~+/]{6,}+=*)")
_WORD_AFTER_BEARER = re.compile(
    r"(?:token|auth|authentication|authorization|scheme|header|of)[ :=\"'`]{1,4}", re.IGNORECASE
)
_COOKIE = re.compile(r"\s{0,3}[\w.\-]{1,64}=[^\s;=(]{3}")
_COOKIES = re.compile(r"[^\"'`\n\0]++")
_BARE = re.compile(r"[^\s\"'`\0<>|]++")
#: Where a bare value ends although no blank follows: the next parameter of a URL, of a call, of a connection string.
_NEXT_PARAMETER = re.compile(
    r"&(?:amp;)?[\w.\-\[\]]+=|[,;](?:$|[\w.\- ]{1,40}[=:]|[\]})\\]|[^\W\d])|\\[nrt\"']|\\\Z|[)}\]]+[.,;:]?\Z|[)}\]],"
)
_TRAILING = ".,;:!?)]}\\"
_NO_VALUE = re.compile(
    r"(?:none|null|nil|undefined|true|false|yes|no|str(?:ing)?|int(?:eger)?|bytes|bool(?:ean)?|any|optional|required"
    r"|text|(?:var)?char[a-z]*2?(?:\(\S*)?|secretstr|password|passwd|secret|token|api_?key|key|value|missing|invalid|incorrect"
    r"|wrong|expired|reset|empty|unset|hidden|redacted|masked|removed|omitted|here|below|above|field|input|type|is|was"
    r"|not|the|an?|and|or|for|from|in|on|to|of|with|must|should|please|enter|your[a-z_.\-]*|my[a-z_.\-]*|example|changed|updated|stored"
    r"|prompt|env(?:ironment)?|default|basic|bearer|header|auth[a-z_]*|n/?a|tbd|todo|unknown|blank|set|get|new|old|same"
    r"|<.*>|\$?\{.*|\$\(?(?:[A-Z_][A-Z0-9_]*|[a-z_]+)\)?|%\(?\w*\)?[sd]?|%[A-Za-z_]+%|[*•.x_\-]+|\[.*\]?|\(.*|os\.\w.*|getenv.*|process\.env.*"
    r"|self\..*|settings\..*|config\..*|env\..*|secrets\..*|vault\..*|var\..*|input\(.*|@.*|/.*|~/.*|\\.*|\W+)",
    re.IGNORECASE,
)
_CODE = re.compile(r"[A-Za-z_][\w.]*[(\[].*|[a-z_]+(?:\.[a-z_]+)+", re.DOTALL)
_SIGN = re.compile(r"[^\w.\-]")
_DIGIT = re.compile(r"\d")
_LETTER = re.compile(r"[^\W\d_]")
_THREE_CAPITALS = re.compile("(?:[^A-Z]*+[A-Z]){3}")
_NUMERIC = re.compile(r"[\d.,]+[%kKmM]?")
_ENVIRONMENT = re.compile(r"[A-Z][A-Z0-9_]*\Z")


#: How far a value may reach: at least so far, and no further than so many other names that tell.
_NEAR, _FAR, _NAMES_AHEAD = 256, 8_000, 16


@scan(TELLING)
def labelled_secrets(sheet: Sheet) -> list[Region]:
    """What stands under names that tell. Where such names crowd, each looks ahead as far as the sixteenth of them, so
    that a text is read so many times at most, whoever wrote it."""
    text, names = sheet.text, sheet.regions(telling_words)
    regions: list[Region] = []
    done = 0
    for number, (start, end) in enumerate(names, _NAMES_AHEAD):
        start = max(start, done)
        if start >= end:
            continue
        crowd = names[number][0] if number < len(names) else len(text)
        limit = min(max(crowd, end + _NEAR), end + _FAR, len(text))
        value = _value(text, start, end, limit)
        if value is not None and value[0] < value[1]:
            done = _whole(text, value[1]) if value[1] == limit else value[1]
            regions.append((value[0], done))
    return regions


def _whole(text: str, end: int) -> int:
    rest = _REST.match(text, end)
    return rest.end() if rest is not None else end


_REST = re.compile(r"[^\s\"'`\0<>|,;\\)}\]]++")


def _value(text: str, start: int, end: int, limit: int) -> Region | None:
    """What stands under the name at `text[start:end]`, if it is a secret; looked for up to `limit`."""
    name = text[start:end]
    lower = name.lower().strip("-_")
    if lower.endswith("bearer"):
        return _bearer(text, end, limit)
    if lower in _HALF_KEYS and (words := _TWO_WORDS.search(text, max(0, start - 18), start)):
        name = f"{words[1]}_{name}"
    elif lower.endswith(("keys", "passwords")):
        name = name[:-1]
    shell = name == "PWD" and text[start - 1 : start] == ";"  # of a connection, and not the shell's folder
    short = lower in _SHORT_NAMES
    if telling_key(name) is None and name.isascii() and not shell and not short:
        return None
    behind = _QUOTE_BEHIND.match(text, end)
    at = behind.end() if behind else end
    if (beside := _named_value(text, start, at, limit)) is not None:
        return beside
    quoted_name = at > end and text[start - 1 : start] in ('"', "'", "`")
    tie = _TIE.match(text, at, limit)
    if tie is None or tie.end() >= limit or not any(tie.groups()):
        return None
    if "cookie" in lower:
        return _rest_of_line(text, tie, limit)
    if lower.endswith("authorization"):
        return _header(text, tie, limit)
    flag = text.startswith("--", start) or text[max(0, start - 2) : start] == "--"
    quoted = _QUOTED.match(text, tie.end(), limit)
    if quoted is not None:
        pair = (
            quoted_name
            and text[max(0, start - 2) : start - 1] in ("(", "[")
            and text[quoted.end() : quoted.end() + 1] in (")", "]")
        )
        return None if tie["comma"] and not pair else _quoted_value(name, tie, quoted, quoted_name or flag)
    if quoted_name and tie["sign"] and text[tie.end()] in "{[(":
        return _container(text, tie.end(), limit)
    found = _BARE.match(text, tie.end(), limit)
    if short and found is not None and not (tie["sign"] and _LIKE_A_PASSWORD.fullmatch(found[0])):
        return None
    return (
        _bare_value(found, name, tie, flag, quoted_name) if found is not None and not tie["comma"] else None
    )


#: Of `<add key="Password" value="..."/>` and `{name: DB_PASSWORD, value: ...}`: what stands before and behind the name.
_NAME_BEFORE = re.compile(r"(?:name|key)[\"']?[ ]?[=:][ ]?[\"']?\Z", re.IGNORECASE)
_VALUE_BEHIND = re.compile(
    r"\s{0,24},?\s{0,24}[\"']?value[\"']?[ ]?[=:][ ]?(?:\"(?P<a>[^\"\n\0]++)\"|'(?P<b>[^'\n\0]++)'|(?P<c>[^\s\"'\0,}]++))",
    re.IGNORECASE,
)


def _named_value(text: str, start: int, end: int, limit: int) -> Region | None:
    found = _VALUE_BEHIND.match(text, end, limit)
    if found is None or _NAME_BEFORE.search(text, max(0, start - 10), start) is None:
        return None
    group = next(group for group in "abc" if found[group] is not None)
    return None if _NO_VALUE.fullmatch(found[group]) else found.span(group)


def _rest_of_line(text: str, tie: re.Match[str], limit: int) -> Region | None:
    if not tie["sign"]:
        return None
    at = tie.end() + (text[tie.end()] in "\"'`")
    rest = _COOKIES.match(text, at, limit)
    if rest is None or rest[0][0] in "{[(":
        return None
    return rest.span() if _COOKIE.match(rest[0]) or _alone(rest[0].strip()) else None


def _alone(value: str) -> bool:
    return len(value) >= 12 and _DIGIT.search(value) is not None and value.isascii() and " " not in value


def _header(text: str, tie: re.Match[str], limit: int) -> Region | None:
    if not (tie["sign"] or tie["comma"]):
        return None
    at = tie.end()
    while at < limit and text[at] in "\"'`\\ [f":
        at += 1
    found = _CREDENTIALS.match(text, at, limit)
    if found is None or _NO_VALUE.fullmatch(found["secret"]):
        return None
    scheme = found.start("secret") > found.start()
    word = found["secret"].isalpha() and len(found["secret"]) < 16
    return None if word and not scheme else found.span("secret")


def _bearer(text: str, end: int, limit: int) -> Region | None:
    word = _WORD_AFTER_BEARER.match(text, end + 1)
    found = _BEARER.match(text, word.end() - 1 if word else end, limit)
    if found is None:
        return None
    secret = found["secret"]
    long = len(secret) >= 24 and "-" not in secret
    if not (long or _mixed(secret) or _DIGIT.search(secret)) or _NO_VALUE.fullmatch(secret):
        return None
    return found.start("secret"), found.end("secret") - (len(secret) - len(secret.rstrip(".")))


def _mixed(value: str) -> bool:
    """Capitals among small letters, as only chance strews them."""
    return _THREE_CAPITALS.match(value) is not None and not value.isupper()


def _quoted_value(name: str, tie: re.Match[str], quoted: re.Match[str], strong: bool) -> Region | None:
    group = next(group for group in "abcdef" if quoted[group] is not None)
    value = quoted[group].strip()
    strong = strong or tie["sign"] in ("=", ":=", "=>", ":")
    least = 1 if _PASSWORDS.search(name) else 4
    if not strong:
        least = 5 if tie["word"] or not _is_word(value) else 99
    if len(value) < least or _NO_VALUE.fullmatch(value) or is_telling(value):
        return None
    prose = " " in value and not _PASSWORDS.search(name) and not _DIGIT.search(value)
    return None if prose else quoted.span(group)


def _is_word(value: str) -> bool:
    return value.isalpha() and (value.islower() or value.istitle())


#: The next bracket that is not in a string.
_BRACKET = re.compile(
    r"(?:[^\[\]{}()\\\"]++|\\.|\"(?:[^\"\\]++|\\.)*+(?:\"|\Z)|[\\\"])*+(?:(?P<opening>[\[{(])|[\]})])",
    re.DOTALL,
)


def _container(text: str, start: int, limit: int) -> Region | None:
    """A whole list or object, up to its closing bracket."""
    depth, at = 0, start
    while (bracket := _BRACKET.match(text, at, limit)) is not None:
        at = bracket.end()
        depth += 1 if bracket["opening"] else -1
        if depth == 0:
            inside = text[start + 1 : at - 1]
            return (start, at) if inside.strip(" \n\t\0,") else None
    return None


def _bare_value(
    found: re.Match[str], name: str, tie: re.Match[str], flag: bool, quoted_name: bool
) -> Region | None:
    value = found[0]
    if (following := _NEXT_PARAMETER.search(value)) is not None and following.start() > 0:
        value = value[: following.start()]
    value = value.rstrip(_TRAILING)
    if _NO_VALUE.fullmatch(value) or is_telling(value) or "://" in value[:12]:
        return None
    code = _CODE.fullmatch(found[0]) is not None
    return (
        (found.start(), found.start() + len(value))
        if _convinces(name, value, tie, flag, quoted_name, code)
        else None
    )


def _convinces(name: str, value: str, tie: re.Match[str], flag: bool, quoted_name: bool, code: bool) -> bool:
    password = _PASSWORDS.search(name) is not None
    environment = (
        tie["sign"] == "=" and not tie["blank"] and not tie["gap"] and bool(_ENVIRONMENT.match(name))
    )
    kinds = sum(kind.search(value) is not None for kind in (_DIGIT, _LETTER, _SIGN))
    if tie["sign"] in ("=", ":", ":=", "=>", "|", "==", "->") or tie["tag"]:
        if environment or quoted_name or flag:
            return len(value) >= (1 if password else 4) and (
                password or not _NUMERIC.fullmatch(value) or len(value) > 7
            )
        if code:
            return False
        if password:
            return len(value) >= 3
        least = 6 if tie["sign"] == "=" and not tie["blank"] else 8
        return (len(value) >= least and kinds >= 2 and not _NUMERIC.fullmatch(value)) or (
            len(value) >= 20 and value.isalnum()
        )
    if flag:
        return len(value) >= 4 and not value.startswith("-")
    # Tied by a word ("the password is ...") or by a blank only: it must look like nothing else.
    least = 6 if tie["word"] else 8
    return (
        len(value) >= least
        and (kinds >= 2 or _mixed(value))
        and (_DIGIT.search(value) is not None or (password and _mixed(value)))
        and not _NUMERIC.fullmatch(value)
        and (password or len(value) >= 12)
    )


LABEL_RULES: tuple[Rule, ...] = (
    Rule("SECRET_LABELLED", SECRET_PLACEHOLDER, WHOLE, within=labelled_secrets, window=_FAR),
)
