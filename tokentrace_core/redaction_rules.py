"""What counts as private unless somebody says otherwise: all built-in rules, the seed's five kinds first.

Where finds overlap, the rule that stands first names the secret.
"""

from __future__ import annotations

from tokentrace_core.redaction_addresses import ADDRESS_RULES
from tokentrace_core.redaction_keys import KEY_RULES
from tokentrace_core.redaction_labels import SECRET_PLACEHOLDER, telling_key
from tokentrace_core.redaction_logins import LOGIN_RULES
from tokentrace_core.redaction_numbers import NUMBER_RULES
from tokentrace_core.redaction_phones import PHONE_RULES
from tokentrace_core.redaction_rule import Rule
from tokentrace_core.redaction_values import LABEL_RULES

__all__ = ["DEFAULT_RULES", "SECRET_PLACEHOLDER", "Rule", "telling_key"]

DEFAULT_RULES: tuple[Rule, ...] = (
    *KEY_RULES,
    *LOGIN_RULES,
    *NUMBER_RULES,
    *ADDRESS_RULES,
    *PHONE_RULES,
    *LABEL_RULES,
)
