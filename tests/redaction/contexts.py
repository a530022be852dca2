"""What agents' texts look like around a private value: prose, tool arguments, logs, tables, code, shells, mail, chat.

In a template `{x}` is the value; `{key}`, `{word}`, `{UPPER}` and `{camel}` are what people call such a value.
"""

from __future__ import annotations

import hashlib

from tests.redaction.countries import PHONE_TEXTS
from tests.redaction.services import ADDRESS_TEXTS, LOGIN_TEXTS

#: Kind -> how a key of it is spelled, and what people call it.
NAMES: dict[str, tuple[str, str]] = {
    "SSN": ("ssn", "social security number"), "EMAIL": ("email", "e-mail address"), "PHONE_US": ("phone", "phone number"),
    "PHONE_INTL": ("phone_number", "mobile number"), "CREDIT_CARD": ("card_number", "card"), "IPV4": ("ip", "IP address"),
    "IPV6": ("remote_addr", "IPv6 address"), "IBAN": ("iban", "bank account"), "KEY_OPENAI": ("openai_key", "key"),
    "KEY_ANTHROPIC": ("anthropic_key", "key"), "KEY_AWS": ("aws_access_key_id", "access key id"),
    "KEY_AWS_SECRET": ("aws_secret_access_key", "secret access key"), "KEY_GITHUB": ("github", "personal access token"),
    "KEY_SLACK": ("slack", "bot token"), "KEY_GOOGLE": ("google", "key"), "KEY_OTHER": ("credential", "key"),
    "JWT": ("jwt", "session token"), "PASSWORD": ("password", "password"),
    "IBAN_WORLD": ("account", "account"), "KEY_SERVICE": ("credential", "key"),
}  # fmt: skip

#: For values that give themselves away wherever they stand.
ANYWHERE = (
    '{{"id": 4711, "{key}": "{x}", "ok": true}}',
    '{{"name":"update","arguments":{{"{key}":"{x}","notify":false}}}}',
    '{{"messages":[{{"role":"user","content":"my {word} is {x}"}}]}}',
    "[tool] result: {{\\\"{key}\\\": \\\"{x}\\\", \\\"total\\\": 3}}",
    "2026-11-20T22:30:00.123Z INFO worker[42] handled {key}={x} in 35 ms",
    "2026-11-20 22:30:00,123 - app.sync - WARNING - duplicate {x} skipped (17 rows)",
    "id,name,{key},total\n17,Smith,{x},19.99\n18,Jones,,4.00\n",
    "name\t{key}\nSmith\t{x}\n",
    "| name | {key} | total |\n|---|---|---|\n| Smith | {x} | 19.99 |",
    "INSERT INTO customers (id, {key}) VALUES (17, '{x}');",
    "SELECT * FROM customers WHERE {key} = '{x}' LIMIT 10",
    "Traceback (most recent call last):\n  File \"app.py\", line 17, in handle\nValueError: invalid {key}: '{x}'",
    "On Tue, Jane wrote:\n> my {word} is {x}\n> thanks\n\nWill do.",
    "<customer><{key}>{x}</{key}><active>true</active></customer>",
    "user: my {word} is {x}, can you update it?\nassistant: Done.",
    "settings:\n  {key}: {x}\n  retries: 3\n",
    "const {camel} = \"{x}\"; // from the form",
    "def test_lookup():\n    assert lookup('{x}') == 3\n",
    "create_customer({key}=\"{x}\", dry_run=True)",
    "The customer gave {x} as {word}.",
    "Customers:\n- {x}\n- none given\n",
    "{x}",
    "\"{x}\"",
    "({x})",
    "Please use {x}.",
    "I found {x}; is that right?",
    "From the form: {x}, dated 2026-11-20.",
    "Thought: the record shows {x}\nAction: update_record\nAction Input: {{\"id\": 17}}",
    "## Result\n\n**{word}**: {x}\n\nNext steps: none.",
    "Mein Kunde hat {x} angegeben, bitte prüfen.",
    "Le client a donné {x} hier soir.",
    "顧客は{x}と言いました。",
    "key=value {key}={x} next=17",
    "{{'{key}': '{x}', 'n': 17}}",
    "grep -r '{x}' /var/log/app/",
    "echo {x} >> out.txt",
    "Q: What is the {word} on file?\nA: {x}",
    "<p>Reach: <b>{x}</b></p>",
    "Note to self - {x} - ask again on Monday",
    "step 3/7: extracted entity: {x}",
    "diff --git a/t.txt b/t.txt\n-old\n+{x}\n",
)  # fmt: skip

#: For one kind each.
SPECIAL: dict[str, tuple[str, ...]] = {
    "SSN": (
        "SSN {x} on the W-2 does not match.", "Applicant: Doe, Jane; SSN: {x}; DOB: 1980-02-03", "ssn={x}&state=CA",
        "The social is {x}.", "Employee #4711 ({x}) was paid twice",
    ),
    "EMAIL": (
        "Cc: Jane Doe <{x}>, Bob", "mailto:{x}?subject=Hi", "Sent an invite to {x} and two others", "{x} wrote:\n> ok",
        "git commit --author=\"Jane <{x}>\"", "ERROR smtp: 550 5.1.1 <{x}>: Recipient address rejected",
        "https://example.com/unsubscribe?email={x}&id=7",
    ),
    "PHONE_US": (
        "Call me at {x} tomorrow.", "Tel: {x}", "Jane Doe, {x}, San Jose", "<a href=\"tel:{x}\">call</a>", "fax {x}",
        "My number is {x}, text is fine", "(office) {x}",
    ),
    "PHONE_INTL": (
        "Call me at {x} tomorrow.", "Tel.: {x}", "WhatsApp {x}", "Jane Doe, {x}, London", "Rufnummer {x}", "tel:{x}",
        "Erreichbar unter {x}, ab 9 Uhr",
    ),
    "CREDIT_CARD": (
        "Charge {x} for $19.99", "card {x} exp 12/28 cvv 123", "Payment with {x} was declined (code 51)",
        "PAN={x};AMT=1999", "Visa {x}",
    ),
    "IPV4": (
        "GET / HTTP/1.1 from {x}:52344", "{x} - - [20/Nov/2026:22:30:00 +0000] \"GET / HTTP/1.1\" 200 512",
        "ssh admin@{x}", "http://{x}:8080/health", "Failed password for root from {x} port 22 ssh2", "{x}/24",
        "ping {x} timed out",
    ),
    "IPV6": ("listening on [{x}]:443", "from {x} port 22", "http://[{x}]:8080/health", "route {x}/64 via eth0"),
    "IBAN": ("IBAN: {x}", "Bitte auf {x} überweisen.", "IBAN {x}, BIC COBADEFFXXX", "Kontonummer {x}"),
    "KEY_OPENAI": (
        "OPENAI_API_KEY={x}", "client = OpenAI(api_key=\"{x}\")", "Incorrect API key provided: {x}. You can find your key",
        "openai.api_key = '{x}'", "curl -H \"Authorization: Bearer {x}\" https://api.openai.com/v1/models",
    ),
    "KEY_ANTHROPIC": ("ANTHROPIC_API_KEY={x}", "x-api-key: {x}", "Anthropic(api_key='{x}')"),
    "KEY_AWS": ("AWS_ACCESS_KEY_ID={x}", "aws_access_key_id = {x}", "Credential={x}/20261120/us-east-1/s3/aws4_request"),
    "KEY_AWS_SECRET": (
        "AWS_SECRET_ACCESS_KEY={x}", "aws_secret_access_key = {x}", "\"SecretAccessKey\": \"{x}\"",
        "aws configure set aws_secret_access_key {x}",
    ),
    "KEY_GITHUB": (
        "git clone https://{x}@github.com/acme/app.git", "GITHUB_TOKEN={x}", "token {x}",
        "git remote set-url origin https://x-access-token:{x}@github.com/acme/app.git",
    ),
    "KEY_SLACK": ("SLACK_BOT_TOKEN={x}", "slack.WebClient(token='{x}')", "token={x}&channel=C123"),
    "KEY_GOOGLE": ("https://maps.googleapis.com/maps/api/js?key={x}&v=3", "GOOGLE_API_KEY={x}"),
    "KEY_OTHER": ("export API_KEY={x}", "token: {x}", "login --token {x} --quiet"),
    "JWT": ("Authorization: Bearer {x}", "Cookie: session={x}; theme=dark", "access_token={x}&expires=3600", "token {x}"),
    "BEARER": (
        "Authorization: Bearer {x}", "curl -H 'Authorization: Bearer {x}' https://api.example.com/v1",
        "{{\"Authorization\": \"Bearer {x}\"}}", "headers={{'authorization': 'bearer {x}'}}",
        "authorization=Bearer%20{x}", "Sent header authorization: Bearer {x} and got 401",
        "[(\"Authorization\", \"Bearer {x}\")]", "-H \\\"Authorization: Bearer {x}\\\"",
        "> GET /v1 HTTP/2\n> authorization: Bearer {x}\n> accept: */*", "use the bearer token {x} for now",
        "Proxy-Authorization: Bearer {x}", "fetch(url, {{headers: {{Authorization: `Bearer {x}`}}}})",
        "{{\\\"Authorization\\\": \\\"Bearer {x}\\\"}}",
    ),
    "PEM_KEY": (
        "{x}", "key = \"\"\"{x}\"\"\"", "cat id_rsa\n{x}\n$ ls", "Here is the key:\n\n{x}\n\nKeep it safe.",
        "private_key: |\n  {x}\nport: 22", "```\n{x}\n```", "<key>{x}</key>",
    ),
    "URL_PASSWORD": (
        "postgres://app:{x}@db.internal:5432/prod", "DATABASE_URL=postgresql://app:{x}@10.0.0.5/prod",
        "redis://:{x}@cache:6379/0", "mongodb+srv://root:{x}@cluster0.mongodb.net/?retryWrites=true",
        "amqp://guest:{x}@mq.example.com:5672/%2f", "https://deploy:{x}@git.example.com/acme/app.git",
        "could not connect to mysql://root:{x}@localhost:3306/shop: timeout", "{{\"dsn\": \"postgres://u:{x}@h/db\"}}",
        "ftp://joe:{x}@ftp.example.com/in", "smtp://mailer%40example.com:{x}@smtp.example.com:587",
        "engine = create_engine('mysql+pymysql://root:{x}@db/shop')", "curl http://admin:{x}@10.1.2.3:9200/_cat",
    ),
    "PASSWORD": (
        "password={x}", "password: {x}", "DB_PASSWORD={x}", "export PGPASSWORD='{x}'", "{{\"password\": \"{x}\"}}",
        "{{\\\"password\\\": \\\"{x}\\\"}}", "login --user joe --password {x}", "mysql://h/db?user=joe&password={x}&ssl=1",
        "Server=db;User Id=sa;Password={x};Encrypt=yes", "connect(user='joe', password='{x}')", "passwd: \"{x}\"",
        "The password is {x}, please change it.", "user: joe\npassword: {x}\nhost: db", "client_secret={x}",
        "{{'user': 'joe', 'passwd': '{x}'}}", "<password>{x}</password>", "ALTER USER joe WITH PASSWORD '{x}';",
        "IDENTIFIED: password '{x}'", "| password | {x} |", "secret: {x}", "my password is {x}", "**Password:** {x}",
        "curl -u joe:{x} https://example.com", "API_TOKEN=\"{x}\"", "Passwort: {x}", "contraseña: {x}", "mot de passe : {x}",
        "{{\"name\": \"DB_PASSWORD\", \"value\": \"{x}\"}}", "spring.datasource.password={x}", "set password to {x}",
        "api_key: '{x}'", "config.secret_key = \"{x}\"", "password => '{x}'", "pwd={x} ",
    ),
}  # fmt: skip

SPECIAL |= {"PHONE_AT_HOME": PHONE_TEXTS, "LOGIN": LOGIN_TEXTS, "ADDRESS_SECRET": ADDRESS_TEXTS}
_LABELLED_ONLY = frozenset(
    {"BEARER", "PEM_KEY", "URL_PASSWORD", "PASSWORD", "PHONE_AT_HOME", "LOGIN", "ADDRESS_SECRET"}
)


def contexts_of(kind: str) -> tuple[str, ...]:
    """The templates for a kind, its names filled in."""
    own = SPECIAL.get(kind, ())
    if kind in _LABELLED_ONLY:
        return own
    key, word = NAMES[kind]
    first, *rest = key.split("_")
    camel = first + "".join(map(str.title, rest))
    names = {"key": key, "word": word, "UPPER": key.upper(), "camel": camel, "x": "{x}"}
    return (*(template.format(**names) for template in ANYWHERE), *own)


def is_held_out(template: str) -> bool:
    """A third, by hash: looked at only through the score."""
    return hashlib.sha256(template.encode()).digest()[0] % 3 == 0
