"""Where somebody is to be reached: e-mail addresses and the addresses of machines."""

from __future__ import annotations

import re

from tokentrace_core.redaction_rule import WHOLE, Rule
from tokentrace_core.redaction_scans import at_signs, colons, dotted, spaced_ats, spelled_ats, spelled_dots
from tokentrace_core.redaction_sheet import Region

# --- e-mail ---

#: The part before the `@`, read backwards: a quoted name, else a name.
_NAME_BACKWARDS = re.compile(r"\"[\w.%+'\- ]{1,64}\"|[\w.%+'\-!#$&*^~]{1,128}")
_NAME_BEGINS = re.compile(r"[.'!#$&*^~%\-]+")
#: What stands between `//` and `@` in an address of a service, where `redaction_keys` looks for passwords.
_USER_OF_URL = re.compile(r"://[^\s/?#@\"'<>\0]{0,128}\Z")
#: Ends of file and unit names (`icon@2x.png`, `getty@tty1.service`), which are no domains.
_FILES = frozenset(
    re.findall(
        r"\S+",
        "png jpg jpeg gif svg webp ico css js mjs json yml yaml toml lock txt html whl gz tgz zip service socket timer"
        " target mount slice",
    )
)
_ROLES = frozenset({"git", "hg", "svn"})
_LONGEST_NAME = 160


def _mailbox(text: str, start: int, end: int) -> Region | None:
    name = _NAME_BACKWARDS.match(text[max(0, start - _LONGEST_NAME) : start][::-1])
    if name is None:
        return None
    begin = start - name.end()
    if (signs := _NAME_BEGINS.match(text, begin, start)) is not None:
        begin = signs.end()
    if begin == start or text[begin:start] in _ROLES or _is_file(text, start, end):
        return None
    if text[end : end + 1] == "(":  # a method of a product of matrices
        return None
    url = _USER_OF_URL.search(text, max(0, begin - _LONGEST_NAME), begin)
    return None if url is not None and (":" in url[0][3:] or ":" in text[begin:start]) else (begin, end)


def _is_file(text: str, start: int, end: int) -> bool:
    return text[start:end].rpartition(".")[2].lower() in _FILES


def _spelled_mailbox(text: str, start: int, end: int) -> Region | None:
    before = text[max(0, start - _LONGEST_NAME) : start]
    apart = before.rstrip(" ")
    name = _NAME_BACKWARDS.match(apart[::-1])
    return None if name is None else (start - len(before) + len(apart) - name.end(), end)


_LABEL = r"[\w\-]{1,63}+"
_DOMAIN_END = r"(?:xn--[\w\-]{2,59}|[^\W\d_]{2,24})(?![\w])"

# --- machines ---

#: What a version is called right before it.
_VERSION_WORDS = frozenset(
    re.findall(
        r"\S+",
        "v ver version versions release releases rev revision build firmware section chapter table figure clause appendix"
        " step oid identifier objectidentifier driver upgrade upgraded downgrade downgraded bump bumped patch since require"
        " requires",
    )
)
_FOLDERS_OF_VERSIONS = ("/download/", "/releases/", "/tag/", "/tags/", "/archive/")
_HOSTS = frozenset({"ip", "host", "node", "addr", "server", "from", "at"})
_PRODUCT = re.compile(r"(?<![/:.\w\-])[A-Z][A-Za-z]{1,30}/\Z")
_VERSION_TALK = re.compile(
    r"\b(?:versions?|releases?|upgrad\w{2,4}|downgrad\w{2,4}|bump\w{0,4}|changelog|sdk|firmware|library|package)\b",
    re.IGNORECASE,
)
_VERSION_END = re.compile(
    r"[-_+.]?(?:alpha|beta|rc|dev|post|snapshot|final|ga|tar|zip|whl|jar|dll|exe|deb|rpm|[ab][0-9])"
    r"|-[0-9]{1,4}(?:ubuntu|deb|\.el|build)|-r[0-9]| to (?:v[0-9]|version)",
    re.IGNORECASE,
)
_ADDRESS_TALK = re.compile(
    r"\b(?:ips?|hosts?|addr\w*|servers?|clients?|ping|subnet|gateway|login|peer)\b", re.IGNORECASE
)


def _is_address(text: str, start: int, end: int) -> bool:
    """Four numbers up to 255 that nothing around them calls a version."""
    octets = [int(octet) for octet in text[start:end].split(".")]
    if max(octets) > 255:
        return False
    before = text[max(0, start - 48) : start]
    if _is_labelled_version(before):
        return False
    if _VERSION_END.match(text, end, end + 12) is not None:
        return False
    # Versions have small numbers, and are talked about.
    talk = max(octets) < 64 and _VERSION_TALK.search(before) is not None
    return not talk or _ADDRESS_TALK.search(before) is not None


def _is_labelled_version(before: str) -> bool:
    if before.endswith(("==", "~=", "^=", ">=", "<=", "!=", "§", "§ ")):
        return True
    if before.endswith("/"):  # a product and its version, as in a user agent
        return _PRODUCT.search(before) is not None or before.endswith(_FOLDERS_OF_VERSIONS)
    if before.endswith("-"):  # a package's file
        name = _last_word(before[:-1])
        return name.isalpha() and name.islower() and name not in _HOSTS
    head = before.rstrip("\"'\\ \t\n:=.#(")
    word = _last_word(head)
    if word in ("to", "from"):
        word = _last_word(head[: -len(word)].rstrip())
    return (word.lower() in _VERSION_WORDS or word.endswith("Version")) and len(before) - len(head) < 6


def _last_word(text: str) -> str:
    at = len(text)
    while at and text[at - 1].isalpha():
        at -= 1
    return text[at:]


_LONGEST_V6 = 64


def _v6(text: str, start: int, end: int) -> Region | None:
    """Colons alone also make times, MAC addresses, `std::` and slices like `x[1::2]`."""
    if end - start > _LONGEST_V6:
        return None
    if text.startswith(":", start) and not text.startswith("::", start):
        start += 1
    while end > start and text[end - 1] in ":." and not text.startswith("::", end - 2):
        end -= 1
    address = text[start:end].rstrip(".")
    end = start + len(address)
    head, gap, tail = address.partition("::")
    groups = [group for part in (head, tail) if part for group in part.split(":")]
    width = len(groups) + ("." in groups[-1] if groups else 0)
    if not all(groups) or max(map(len, groups), default=0) > 15 or (width > 7 if gap else width != 8):
        return None
    if any(len(group) > 4 for group in groups if "." not in group):
        return None
    before, after = text[start - 1 : start], text[end : end + 1]
    glued = _is_ascii_letter(before) or _is_ascii_letter(after)
    if glued and width < 5:
        return None
    if gap:
        told = any(map(str.isdigit, address)) and (len(groups) > 2 or len(groups[0] if groups else "") > 2)
    else:
        told = any(len(group) > 2 for group in groups)  # eight pairs are the longer kind of MAC address
    if not told:
        return None
    zone = _ZONE.match(text, end)
    return start, zone.end() if zone is not None else end


_ZONE = re.compile(r"%(?=[A-Za-z])[\w.\-]{1,15}")


def _is_ascii_letter(character: str) -> bool:
    return character.isascii() and character.isalnum()


ADDRESS_RULES: tuple[Rule, ...] = (
    Rule(
        "EMAIL",
        "[EMAIL_REDACTED]",
        re.compile(
            rf"@(?:localhost\b|(?:{_LABEL}\.){{1,10}}{_DOMAIN_END}|\[(?:IPv6:)?[0-9A-Fa-f:.]{{3,45}}\])"
        ),
        within=at_signs,
        extent=_mailbox,
    ),
    Rule(
        "EMAIL_SPELLED",
        "[EMAIL_REDACTED]",
        re.compile(
            r"[\[({<] ?(?:at|AT|At|@) ?[\])}>] ?"
            rf"{_LABEL}(?: ?(?:[\[({{<] ?(?:dot|DOT|Dot|\.) ?[\])}}>]|\.) ?{_LABEL}){{1,5}}"
        ),
        within=spelled_ats,
        reach=(2, 160),
        extent=_spelled_mailbox,
    ),
    Rule(
        "EMAIL_SPELLED_OUT",
        "[EMAIL_REDACTED]",
        re.compile(rf" (?:at|AT) {_LABEL}(?: (?:dot|DOT) {_LABEL}){{1,4}}"),
        within=spelled_dots,
        extent=_spelled_mailbox,
    ),
    Rule(
        "EMAIL_SPACED",
        "[EMAIL_REDACTED]",
        re.compile(rf" ?@ ?(?:{_LABEL}\.){{1,4}}(?:com|org|net|de|fr|uk|io|edu|gov|es|it|nl|eu)(?!\w)(?!\()"),
        within=spaced_ats,
        reach=(0, 160),
        extent=_spelled_mailbox,
        accept=lambda text, start, end: (
            re.search(r"[.\d_+]", text[start : text.index("@", start)]) is not None
        ),
    ),
    Rule(
        "IPV4",
        "[IP_REDACTED]",
        re.compile(r"(?<![0-9])(?<![0-9]\.)[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9])(?!\.[0-9])"),
        within=dotted,
        reach=(0, 4),
        accept=_is_address,
    ),
    Rule("IPV6", "[IP_REDACTED]", WHOLE, within=colons, extent=_v6),
)
