"""Writes and reads with each driver, over TLS that the authority in the credentials vouches for.

All it knows of the services is in VCAP_SERVICES. A driver that is told of no authority connects by what "backstay
run" has put into the environment, and must not connect without that, when it trusts those of the system.
"""

import json
import os
import ssl
import tempfile

import psycopg
import pymysql
import redis


def postgres(credentials, authority):
    return psycopg.connect(credentials["uri"], sslmode="verify-full", sslrootcert=authority or "system")


def use_postgres(connection):
    connection.execute("CREATE TABLE driven (answer int)")
    connection.execute("INSERT INTO driven VALUES (%s)", (42,))
    connection.commit()
    return connection.execute("SELECT answer FROM driven").fetchone()[0]


def mysql(credentials, authority):
    parts = {part: credentials[part] for part in ("host", "port", "password")}
    return pymysql.connect(
        user=credentials["username"], database=credentials["name"], ssl=ssl.create_default_context(cafile=authority), **parts
    )


def use_mysql(connection):
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE driven (answer int)")
        cursor.execute("INSERT INTO driven VALUES (%s)", (42,))
        connection.commit()
        cursor.execute("SELECT answer FROM driven")
        return cursor.fetchone()[0]


def tls_redis(credentials, authority):
    client = redis.Redis.from_url(credentials["uri"], ssl_ca_certs=authority)
    client.ping()  # from_url alone connects to nothing
    return client


def use_redis(client):
    client.set("driven", 42)
    return int(client.get("driven"))


def refusal(connect, credentials):
    """Says why the driver does not connect when it trusts the system's authorities."""
    for variable in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        os.environ.pop(variable, None)
    try:
        connect(credentials, None)
    except Exception as refused:
        return " ".join(str(refused).split())
    return "none"


def main():
    services = json.loads(os.environ["VCAP_SERVICES"])
    drivers = {"postgres": (postgres, use_postgres), "mysql": (mysql, use_mysql), "redis": (tls_redis, use_redis)}
    for offering, (connect, use) in drivers.items():
        credentials = services[offering][0]["credentials"]
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as authority:
            authority.write(credentials["ca_certificate"])
            authority.flush()
            print(f"{offering}: read {use(connect(credentials, authority.name))}")
    for offering, (connect, _) in drivers.items():
        connect(services[offering][0]["credentials"], None)
        print(f"{offering}: trusted")
    for offering, (connect, _) in drivers.items():
        print(f"{offering}: refused: {refusal(connect, services[offering][0]['credentials'])}")


main()
