"""Names that give a secret away: `password`, `X-Api-Key`, `ssn`.

`telling_key` says of a name whether what stands under it is a secret. In structures that settles it; in running text
what stands under a name must also look like one (`redaction_values`).
"""

from __future__ import annotations

import re
from functools import lru_cache

SECRET_PLACEHOLDER = "[SECRET_REDACTED]"

_SECRET_KEYS = re.findall(
    r"\w+",
    """
    password passwd pwd passwort passord passwords motdepasse kennwort senha wachtwoord passphrase passcode secret clientsecret secretkey secrets credential credentials
    token accesstoken refreshtoken idtoken authtoken bearertoken sessiontoken apitoken csrftoken xauthtoken
    apikey xapikey apisecret accesskey secretaccesskey awssecretaccesskey awssessiontoken privatekey signingkey
    openaiapikey anthropicapikey googleapikey githubtoken slacktoken databaseurl connectionstring
    authorization proxyauthorization auth bearer cookie cookies setcookie sessionid sessionkey sessioncookie
    passwordhash otp mfacode recoverycode accountkey sharedaccesskey webhooksecret secretkeybase basicauth httpauth
    sshpass dbpass smtppass mysqlpass pgpass ftppass rootpass userpass adminpass sudopass becomepass ansiblesshpass
    ansiblebecomepass ldappass redispass mailpass emailpass wifipass vpnpass proxypass clientkeydata
    """,
)
_TELLING_KEYS = (
    dict.fromkeys(_SECRET_KEYS, SECRET_PLACEHOLDER)
    | dict.fromkeys(("ssn", "socialsecuritynumber", "socialsecurity", "ssnumber"), "[SSN_REDACTED]")
    | dict.fromkeys(
        ("creditcard", "creditcardnumber", "cardnumber", "ccnumber", "cvv", "cvc", "cvv2"), "[CC_REDACTED]"
    )
    | {"iban": "[IBAN_REDACTED]"}
)
_TELLING_ENDS = re.compile(
    r"(?:password|passwd|passphrase|passcode|(?:api|secret|access|private|signing|encryption|auth|master|license)key"
    r"|secret|token|credentials?|(?<!o)pwd)\Z"
)
#: Tokens that are units of text or places in a list, not credentials.
_OTHER_TOKENS = re.compile(
    r"(?:next|page|continuation|cursor|eos|bos|pad|unk|sep|cls|mask|stop|special|start|end|begin|first|last|per|max|min"
    r"|num|total|prompt|completion|input|output|cancel|cancellation|sync|image|audio|text|new|each|every|current"
    r"|previous|change|resume|skip|cached|reasoning|byte|word|sub|time|the|a|by|of|one)token\Z"
)


_LONGEST_NAME = 96


def telling_key(key: str) -> str | None:
    """The placeholder for everything under `key`, or None: `X-Api-Key` and `apiKey` tell, `max_tokens` does not."""
    return _remembered(key[-_LONGEST_NAME:])


def is_telling(value: str) -> bool:
    """Whether a value is itself a name that tells. Unlike `telling_key` it remembers nothing: values are private."""
    return len(value) <= _LONGEST_NAME and _placeholder(value) is not None


@lru_cache(maxsize=1024)
def _remembered(key: str) -> str | None:
    return _placeholder(key)


def _placeholder(key: str) -> str | None:
    if key in ("PWD", "OLDPWD"):
        return None  # the shell's folder
    plain = re.sub(r"[\W_]+", "", key).lower()
    known = _TELLING_KEYS.get(plain)
    if known is None and _TELLING_ENDS.search(plain) and not _OTHER_TOKENS.search(plain):
        known = SECRET_PLACEHOLDER
    return known
