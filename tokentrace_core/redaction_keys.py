"""Credentials that give themselves away: keys with a maker's prefix, tokens, private keys."""

from __future__ import annotations

import re

from tokentrace_core.redaction_labels import SECRET_PLACEHOLDER
from tokentrace_core.redaction_rule import WHOLE, Rule
from tokentrace_core.redaction_scans import (
    base64,
    bot_tokens,
    dotted_tokens,
    private_keys,
    tildes,
    tokens,
    webhooks,
)
from tokentrace_core.redaction_sheet import LONG, Region, Sheet, scan

_NEW_WORD = r"(?<![A-Za-z0-9])"
# Maker, how its keys begin, what they go on with. In front of a prefix that may end a word stands `_NEW_WORD`.
_MAKERS: tuple[tuple[str, str, str], ...] = (
    ("ANTHROPIC", r"sk-ant-", r"[\w\-]{10,}+"),
    ("OPENAI", r"sk-(?:proj|svcacct|admin|None|service)-|(?<![a-z0-9])(?:sk-|sess-)", r"[\w\-]{14,}+"),
    ("AWS", r"(?:A3T[A-Z0-9]|AKIA|ASIA|AROA|AIDA|AGPA|ANPA|ANVA|AIPA|ABIA|ACCA)", r"[A-Z0-9]{16}"),
    ("GITHUB", r"gh[pousr]_|github_pat_", r"[A-Za-z0-9_]{16,}+"),
    ("GITLAB", r"gl(?:pat|dt|rt|ptt|cbt|soat|ft|imt|agent|oas|ffct)-", r"[\w\-.]{16,}+"),
    ("SLACK", r"xox[a-z](?:\.xox[a-z])?-|xapp-|xwfp-", r"[\w\-]{8,}+"),
    ("GOOGLE", r"AIza", r"[\w\-]{30,}+"),
    ("GOOGLE", r"ya29\.|GOCSPX-|(?<![0-9])1//0", r"[\w\-.]{16,}+"),
    ("HUGGING_FACE", rf"{_NEW_WORD}(?:hf|api_org)_", r"[A-Za-z0-9]{16,}+"),
    ("STRIPE", r"(?:sk|rk|pk)_(?:live|test)_|whsec_", r"[A-Za-z0-9+/=]{10,}+"),
    ("SENDGRID", r"SG\.", r"[\w\-]{14,}+\.[\w\-]{14,}+"),
    ("TWILIO", rf"{_NEW_WORD}(?:AC|SK)", r"[0-9a-f]{32}(?![0-9a-f])"),
    ("NPM", r"npm_", r"[A-Za-z0-9]{20,}+"),
    ("PYPI", r"pypi-", r"[\w\-]{16,}+"),
    ("MAILGUN", rf"{_NEW_WORD}key-", r"[0-9a-f]{32}"),
    ("DATABRICKS", r"dapi", r"[0-9a-f]{32}(?:-[0-9])?"),
    ("DIGITALOCEAN", r"do[opr]_v1_", r"[0-9a-f]{40,}+"),
    ("SHOPIFY", r"shp(?:at|ca|pa|ss)_", r"[0-9A-Fa-f]{20,}+"),
    ("ATLASSIAN", r"AT(?:ATT3|CTT3|BB)", r"[\w\-=]{20,}+"),
    (
        "OTHER",
        rf"{_NEW_WORD}(?:gsk_|xai-|r8_|pplx-|pcsk_|tvly-|nvapi-|lsv2_[ps][tk]_|[ps]k-lf-)",
        r"[\w\-]{18,}+",
    ),
    ("OTHER", rf"{_NEW_WORD}(?:fw|ntn|secret|sk|sbp|rnd)_", r"[A-Za-z0-9]{24,}+"),
    ("OTHER", r"lin_(?:api|oauth)_|figd_|dckr_(?:pat|oat)_|glsa_|glc_|sntry[su]_", r"[\w\-.+/=]{20,}+"),
    ("OTHER", rf"{_NEW_WORD}(?:hv[sbr]|dp\.(?:pt|st|ct|sa))\.", r"[\w\-]{20,}+"),
    (
        "OTHER",
        rf"{_NEW_WORD}(?:aio|nfp|tfp|bkua|pscale_(?:tkn|pw|oauth)|vercel_[a-z]{{1,8}}(?:_rw)?|fm[12]|shippo_live|tk)_",
        r"[A-Za-z0-9_]{24,}+",
    ),
    ("OTHER", rf"{_NEW_WORD}(?:EAA[A-Z]|AKCp)", r"[A-Za-z0-9]{48,}+"),
    ("OTHER", rf"{_NEW_WORD}(?:CFPAT-|sl\.(?:u\.)?)", r"[\w\-]{40,}+"),
    ("AIRTABLE", rf"{_NEW_WORD}pat[A-Za-z0-9]{{14}}\.", r"[0-9a-f]{40,}+"),
    ("AWS_SESSION", r"IQoJb3JpZ2lu", r"[A-Za-z0-9+/=]{40,}+"),
    ("TWITTER", rf"{_NEW_WORD}A{{20,22}}", r"[A-Za-z0-9]{40,}+(?:%3D|=)*"),
    ("PRIVATE_KEY", r"LS0tLS1CRUdJTi", r"[A-Za-z0-9+/=]{40,}+"),
    ("OTHER", r"NRAK-|NRII-|PMAK-|HRKU-|AGE-SECRET-KEY-1|sq0[a-z]{3}-", r"[\w\-]{20,}+"),
)
#: Whether any of them can begin here, in a form that costs little: all begin with a letter that is spelled out, so that
#: the search leaps over the others.
_ANY_MAKER = re.compile(
    r"s(?:k[-_]|ess-|hp[acs]|hippo_|q0|ecret_|ntry[su]_|bp_|l\.)|g(?:h[pousr]_|ithub_p|l(?:[a-z]{2,5}-|sa_|c_)|sk_)"
    r"|x(?:ox[a-z]|app-|wfp-|ai-)|A(?:[A-Z3][A-Z][A-Z0-9]|Iza|C[0-9a-f]{8}|TBB|GE-S|KCp)|eyJ|ya29\.|GOCSPX-|1//0"
    r"|h(?:f_|v[sbr]\.)|a(?:pi_org|io_)|r(?:k[-_]|8_|nd_)|whsec_|S(?:G\.|K[0-9a-f]{8})|n(?:pm_|tn_|vapi|fp_)|key-"
    r"|p(?:k[-_]|plx|csk_|ypi-|scale_|at[A-Za-z0-9]{14}(?![A-Za-z0-9]))|d(?:api|o[opr]_v1|ckr_|p\.[psc])|t(?:vly-|fp_|k_)"
    r"|l(?:sv2_|in_)|f(?:w_|igd_|m[12]_)|NR[AI]|PMAK-|HRKU-|bkua_|vercel_|EAA[A-Z]|CFPAT-|IQoJb3|LS0tLS1CRUdJTi"
)
_REACH = 8
_REST = re.compile(r"[\w\-.~+/=:]*+")


def _is_id(text: str, start: int, end: int) -> bool:
    """A UUID, or nothing but digits."""
    uuid = end - start == 36 and text[start + 8] == "-" == text[start + 23]
    return uuid or text[start:end].isdecimal()


@scan(LONG)
def keyish(sheet: Sheet) -> list[Region]:
    """Long words in or right in front of which a maker's prefix stands."""
    regions: list[Region] = []
    text, done = sheet.text, 0
    for start, end in sheet.regions(tokens):
        if end <= done or _is_id(text, start, end):
            continue
        found = _ANY_MAKER.search(text, max(0, start - _REACH), end)
        if found is not None:
            rest = _REST.match(text, end)
            done = rest.end() if rest else end
            regions.append((found.start(), done))
    return regions


#: A token of three or five parts, and the first part of one.
_WEB_TOKEN = re.compile(r"eyJ[\w\-]{6,}+\.[\w\-]{4,}+(?:\.[\w\-]*+){0,3}")
_FIRST_PART = re.compile(r"eyJhbGciO[\w\-=]{10,}+")


@scan(LONG)
def web_tokens(sheet: Sheet) -> list[Region]:
    """JSON web tokens, from a word's first `eyJ` on: what follows the word decides, so a later one fares no better."""
    regions: list[Region] = []
    text, done = sheet.text, 0
    for start, end in sheet.regions(tokens):
        at = text.find("eyJ", start, end) if start >= done else -1
        if at < 0:
            continue
        found = _WEB_TOKEN.match(text, at) if text[end : end + 1] == "." else None
        if found is None and (at := text.find("eyJhbGciO", at, end)) >= 0:
            found = _FIRST_PART.match(text, at)
        if found is not None:
            regions.append(found.span())
            done = found.end()
    return regions


def _varied(text: str, start: int, end: int) -> bool:
    """Words, and names glued together, are not random."""
    word = text[start:end]
    return any(map(str.isdigit, word)) or sum(map(str.isupper, word)) > 2


#: A capital and what follows is one part: so names in camel case have few.
_PARTS = re.compile("[A-Z]?[a-z]+|[A-Z]+|[0-9]+|[+/]+")
_MANY_PARTS, _LONGEST_PART = 14, 9


def _random_secret(text: str, start: int, end: int) -> bool:
    """Forty characters of all kinds, mixed; a hash has no capitals, a path has words, which are of one kind."""
    word = text[start:end]
    if text[end : end + 1] == "=":
        return False
    parts = _PARTS.findall(word)
    upper, lower, digits = (sum(map(kind, word)) for kind in (str.isupper, str.islower, str.isdigit))
    return (
        min(upper, lower) >= 5
        and digits >= 1
        and len(parts) >= _MANY_PARTS
        and max(map(len, parts)) <= _LONGEST_PART
    )


_BEGIN = r"-{3,5} ?BEGIN (?:[A-Z0-9]+ ){0,4}PRIVATE KEY(?: BLOCK)? ?-{3,5}"
_NEXT_MARK = re.compile(r"-{3,5} ?(?:(END)|BEGIN) (?:[A-Z0-9]+ ){0,4}PRIVATE KEY(?: BLOCK)? ?-{3,5}")
_BODY = re.compile(
    r"(?:[A-Za-z0-9+/=]{12,}|[A-Za-z0-9+/=]{1,76}(?=\s*(?:\Z|[\\\"'`<\0]))|[\s\\\"'>|+:]+"
    r"|(?:Proc-Type|DEK-Info|Version|Comment):[^\n\0]{0,80})*+"
)
_LONGEST_PEM = 20_000


def _whole_pem(text: str, start: int, end: int) -> Region:
    """Up to its end; where that is missing, or the next key begins before it, what looks like the key's lines."""
    limit = end + _LONGEST_PEM
    mark = _NEXT_MARK.search(text, end, limit)
    final = mark is not None and mark[1] is not None
    stop = min(limit, len(text)) if mark is None else mark.end() if final else mark.start()
    masked = text.find("\0", end, stop)
    if final and masked < 0:
        return start, stop
    body = _BODY.match(text, end, masked if masked >= 0 else stop)
    return start, (body.end() if body else end)


KEY_RULES: tuple[Rule, ...] = (
    Rule(
        "PRIVATE_KEY",
        "[PRIVATE_KEY_REDACTED]",
        re.compile(_BEGIN),
        within=private_keys,
        extent=_whole_pem,
        window=_LONGEST_PEM,
    ),
    *(
        Rule(
            f"KEY_{maker}",
            "[API_KEY_REDACTED]",
            re.compile(f"(?:{prefix}){rest}"),
            within=keyish,
            accept=_varied,
        )
        for maker, prefix, rest in _MAKERS
    ),
    Rule(
        "JWT",
        "[JWT_REDACTED]",
        WHOLE,
        within=web_tokens,
    ),
    Rule(
        "KEY_DISCORD",
        "[API_KEY_REDACTED]",
        re.compile(r"(?<![\w\-.])[MNO][\w\-]{22,26}\.[\w\-]{6}\.[\w\-]{25,}+"),
        within=dotted_tokens,
        reach=(0, 64),
    ),
    Rule(
        "KEY_TELEGRAM",
        "[API_KEY_REDACTED]",
        re.compile(r"(?<![0-9])[0-9]{8,10}:AA[\w\-]{30,}+"),
        within=bot_tokens,
        reach=(12, 0),
    ),
    Rule("KEY_AZURE", "[API_KEY_REDACTED]", re.compile(r"[\w.\-]{3}[78]Q~[\w~.\-]{30,}+"), within=tildes),
    Rule("KEY_AWS_SECRET", "[API_KEY_REDACTED]", WHOLE, within=base64, accept=_random_secret),
    Rule(
        "KEY_WEBHOOK",
        "[API_KEY_REDACTED]",
        re.compile(
            r"(?:hooks\.slack\.com/(?:services|workflows|triggers)/|/api/webhooks/[0-9]{5,24}/|office\.com/webhookb2/)"
            r"(?P<secret>[\w\-/@]{16,}+)"
        ),
        within=webhooks,
    ),
    Rule(
        "KEY_SIGNED_URL",
        "[API_KEY_REDACTED]",
        re.compile(r"[?&](?:sig|X-Amz-Signature)=(?P<secret>[\w%+/=\-]{40,}+)"),
        needs=("sig=", "X-Amz-Signature="),
        within=tokens,
        reach=(48, 48),
    ),
    Rule(
        "PASSWORD_HASH",
        SECRET_PLACEHOLDER,
        re.compile(
            r"\$(?:2[abxy]\$[0-9]{2}|[156y]|argon2(?:id?|d)\$v=[0-9]{1,4}\$[\w=,]{1,60})\$[\w./+$=]{20,}+"
        ),
        needs=("$2", "$6$", "$5$", "$1$", "$y$", "$argon2"),
        within=tokens,
        reach=(96, 96),
    ),
)
