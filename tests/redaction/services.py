"""Keys of services that few other tools know, and where passwords stand: in connections, commands, code and calls."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tests.redaction.letters import HEXADECIMAL, URLSAFE, WORD, digits, letters

_KEYS: tuple[Callable[[Random], str], ...] = (
    lambda r: f"glpat-{letters(r, 20, URLSAFE)}",
    lambda r: f"glpat-{letters(r, 27)}.01.{letters(r, 9)}",
    lambda r: f"{digits(r, 10)}:AA{letters(r, 33, URLSAFE)}",
    lambda r: f"M{letters(r, 23)}.{letters(r, 6)}.{letters(r, 27, URLSAFE)}",
    lambda r: f"pat{letters(r, 14)}.{letters(r, 64, HEXADECIMAL)}",
    lambda r: f"aio_{letters(r, 28)}",
    lambda r: f"bkua_{letters(r, 40, HEXADECIMAL)}",
    lambda r: f"CFPAT-{letters(r, 43)}",
    lambda r: f"sl.{letters(r, 130, URLSAFE)}",
    lambda r: f"EAAC{letters(r, 150)}",
    lambda r: f"AKCp{letters(r, 69)}",
    lambda r: f"nfp_{letters(r, 36)}",
    lambda r: f"pscale_tkn_{letters(r, 43)}",
    lambda r: f"{'A' * 21}k{letters(r, 80)}%3D",
    lambda r: f"tfp_{letters(r, 44)}_{letters(r, 14)}",
    lambda r: f"vercel_blob_rw_{letters(r, 30)}",
    lambda r: f"IQoJb3JpZ2luX2Vj{letters(r, 200, WORD + '/+')}==",
    lambda r: f"sk-or-v1-{letters(r, 64, HEXADECIMAL)}",
    lambda r: f"sk-{letters(r, 32, HEXADECIMAL)}",
    lambda r: f"dop_v1_{letters(r, 64, HEXADECIMAL)}",
    lambda r: f"npm_{letters(r, 36)}",
    lambda r: f"pypi-AgEIcHlwaS5vcmc{letters(r, 70, URLSAFE)}",
    lambda r: f"SG.{letters(r, 22, URLSAFE)}.{letters(r, 43, URLSAFE)}",
    lambda r: f"lin_api_{letters(r, 40)}",
    lambda r: f"ntn_{letters(r, 44)}",
    lambda r: f"PMAK-{letters(r, 24, HEXADECIMAL)}-{letters(r, 34, HEXADECIMAL)}",
    lambda r: f"sq0csp-{letters(r, 43)}",
    lambda r: f"hvs.{letters(r, 90, URLSAFE)}",
    lambda r: f"glsa_{letters(r, 32)}_{letters(r, 8, HEXADECIMAL)}",
    lambda r: f"sntrys_{letters(r, 60)}",
    lambda r: f"dckr_pat_{letters(r, 27, URLSAFE)}",
    lambda r: f"sbp_{letters(r, 40, HEXADECIMAL)}",
    lambda r: f"sk-lf-{letters(r, 8, HEXADECIMAL)}-{letters(r, 4, HEXADECIMAL)}-4{letters(r, 3, HEXADECIMAL)}-{letters(r, 16, HEXADECIMAL)}",
    lambda r: f"pcsk_{letters(r, 60)}",
    lambda r: f"$2y$10${letters(r, 53)}",
    lambda r: f"$6${letters(r, 16)}${letters(r, 86)}",
)  # fmt: skip


def key_of_service(r: Random) -> str:
    return r.choice(_KEYS)(r)


#: A password's places, in the words of databases, shells, programs and seven languages.
LOGIN_TEXTS = (
    'postgres://u:{x}@h:5432/d', 'postgresql+psycopg2://u:{x}@h/d', 'mysql://u:{x}@h/d', 'mongodb://u:{x}@h1,h2/d',
    'mongodb+srv://u:{x}@c.mongodb.net', 'redis://:{x}@h:6379', 'rediss://default:{x}@h:6379', 'amqps://u:{x}@h/v',
    'mssql+pyodbc://sa:{x}@h/d', 'oracle://u:{x}@h:1521/x', 'clickhouse://u:{x}@h:9000',
    'cockroachdb://u:{x}@h:26257/d', 'snowflake://u:{x}@acc/db', 'jdbc:postgresql://h/d?user=u&password={x}',
    'jdbc:oracle:thin:u/{x}@h:1521:x', 'jdbc:sqlserver://h;databaseName=d;user=sa;password={x};',
    'Server=h;Database=d;Uid=u;Pwd={x};', 'Driver={{ODBC Driver 18}};Server=h;UID=sa;PWD={x}',
    'host=h port=5432 user=u password={x} dbname=d', 'ldap://cn=admin:{x}@ldap.acme.io', 'ftp://u:{x}@h/',
    'sftp://u:{x}@h', 'smtp://u:{x}@smtp.x.io:587', 'neo4j+s://neo4j:{x}@h',
    'elasticsearch: http://elastic:{x}@es:9200',
    'kafka sasl.jaas.config=PlainLoginModule required username="u" password="{x}";', 'psql "postgresql://u:{x}@h/d"',
    'PGPASSWORD={x} psql -h h', 'mysql -u root -p{x} shop', 'mysqldump --password={x} db', 'redis-cli -a {x} ping',
    'mongo -u u -p {x} --host h', 'sshpass -p {x} ssh u@h', "sshpass -p '{x}' ssh u@h",
    'wget --user=u --password={x} http://h', 'curl -u u:{x} http://h', "curl --user 'u:{x}' http://h",
    'http -a u:{x} GET h', 'docker login -u u -p {x} reg.io', 'az login -u u -p {x}', 'openssl enc -k {x}',
    'zip -P {x} a.zip b', 'gpg --passphrase {x} -d a', 'ansible_password: {x}', 'ansible_ssh_pass={x}',
    'MYSQL_ROOT_PASSWORD: {x}', '- POSTGRES_PASSWORD={x}', 'spring.datasource.password: {x}', 'db.pass={x}',
    "'PASS' => '{x}',", "define('DB_PASSWORD', '{x}');", "$password = '{x}';", 'let password = "{x}"',
    'password := "{x}"', ':password "{x}"', '"passwd" : "{x}"', '<add key="Password" value="{x}"/>',
    '<property name="password" value="{x}"/>', 'passphrase: {x}', "IDENTIFIED BY '{x}'",
    "CREATE USER joe WITH PASSWORD '{x}'", "SET PASSWORD FOR joe = '{x}'", 'password is {x}', 'my password is {x}.',
    'the password is: {x}', 'Password (temporary): {x}', 'pw: {x}', 'pass: {x}', 'PIN/password: {x}',
    'Username: joe\nPassword: {x}', 'user joe, password {x}', 'use password {x} to log in',
    'Das Passwort lautet {x}', 'Passwort ist {x}', 'mot de passe est {x}', 'le mot de passe: {x}',
    'la contraseña es {x}', 'contraseña {x}', 'la password è {x}', 'senha: {x}', 'a senha é {x}', 'wachtwoord: {x}',
    'hasło: {x}', 'пароль: {x}', 'пароль {x}', '密码是{x}', '密码\uff1a{x}', 'パスワードは{x}です', '비밀번호: {x}', 'Temp pwd -> {x}',
    'changed password from {x} to something', 'reset his password to {x}', "SECRET_KEY = '{x}'",
    'secret_key_base: {x}', 'JWT_SECRET={x}', 'ENCRYPTION_KEY={x}', '{{\\"password\\":\\"{x}\\"}}', 'password%3D{x}',
    'password=\\"{x}\\"', '| Password | {x} |', '- **Password**: `{x}`', 'Password\t{x}', '--db-password {x}',
    '--password "{x}"', '-Dpassword={x}', 'password=`{x}`', "self.password = '{x}'",
    "os.environ['DB_PASSWORD'] = '{x}'", 'ENV DB_PASSWORD={x}', 'ENV DB_PASSWORD {x}', 'ARG TOKEN={x}',
    '{{name: DB_PASSWORD, value: {x}}}', '- name: DB_PASSWORD\n  value: {x}', 'name="password" value="{x}"',
    'data-password="{x}"', 'setPassword("{x}")', "withPassword('{x}')", "auth=('joe', '{x}')",
    "HTTPBasicAuth('joe', '{x}')", 'basic_auth: joe:{x}',
)  # fmt: skip
#: The secret part of an address.
ADDRESS_TEXTS = (
    'https://hooks.slack.com/services/T0AB12CD3/B0AB12CD3/{x}',
    'https://discord.com/api/webhooks/123456789012345678/{x}',
    'https://acme.blob.core.windows.net/c/b?sv=2022-11-02&se=2026-11-21T00:00:00Z&sig={x}%3D',
    'https://b.s3.amazonaws.com/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature={x}',
    'Endpoint=sb://x.servicebus.windows.net/;SharedAccessKeyName=Root;SharedAccessKey={x}=',
    'AccountName=acme;AccountKey={x}==;EndpointSuffix=core.windows.net', '//packages.acme.example/:_authToken={x}',
    '{{"auths": {{"https://index.docker.io/v1/": {{"auth": "{x}=="}}}}}}',
    'users:\n- name: admin\n  user:\n    client-key-data: {x}=\n', '    token: {x}\n',
    'Set-Cookie: sessionid={x}; HttpOnly; Path=/', 'Cookie: PHPSESSID={x}; lang=en',
    'machine api.heroku.com\n  login joe\n  password {x}\n',
)  # fmt: skip


def part_of_address(r: Random) -> str:
    return letters(r, 44)
