"""What an app does with a MongoDB service: it finds it in VCAP_SERVICES, and verifies it by the authority there."""
import json
import os
import sys
import tempfile
import time

import pymongo
from pymongo.errors import OperationFailure, PyMongoError, ServerSelectionTimeoutError


def connect(trusting=True, **user):
    (service,) = json.loads(os.environ["VCAP_SERVICES"])["mongodb"]
    credentials = service["credentials"]
    options = {"serverSelectionTimeoutMS": 10000 if trusting else 2000}
    if trusting:
        with tempfile.NamedTemporaryFile("w", suffix=".pem", delete=False) as authority:
            authority.write(credentials["ca_certificate"])
        options["tlsCAFile"] = authority.name
    return pymongo.MongoClient(credentials["uri"], **options, **user)


def refused(client, command, *args, **options):
    try:
        client.admin.command(command, *args, **options)
    except OperationFailure:
        return "refused"
    return "done"


what = sys.argv[1]
if what == "distrust":  # nobody has told it of the authority by the environment either
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        os.environ.pop(name, None)
if what == "as":  # whom another app's VCAP_SERVICES names
    (service,) = json.load(open(sys.argv[2]))["mongodb"]
    try:
        connect(username=service["credentials"]["username"], password=service["credentials"]["password"]).admin.command("ping")
        print("let in")
    except OperationFailure as error:
        print("refused:", error.details["errmsg"])
    sys.exit()
client = connect(trusting=what != "distrust")
greetings, visits = client.get_default_database().greetings, client.get_default_database().visits
if what == "keep":
    greetings.replace_one({"_id": 1}, {"text": sys.argv[2]}, upsert=True)
    print("kept")
elif what == "read":
    print(greetings.find_one({"_id": 1})["text"])
elif what == "anycase":
    print("found", greetings.find_one({"text": sys.argv[2]}, collation={"locale": "en", "strength": 2})["text"])
elif what == "distrust":
    try:
        greetings.find_one()
        print("trusted")
    except ServerSelectionTimeoutError as error:
        print("refused:", str(error).replace("\n", " "))
elif what == "users":
    print("createUser:", refused(client, "createUser", "evil", pwd="password12", roles=["readAnyDatabase"]))
    print("usersInfo:", refused(client, "usersInfo"))
elif what == "visit":
    visits.create_index("page", unique=True)
    visits.insert_one({"page": sys.argv[2]})
elif what == "visits":
    for visit in visits.find(sort=[("page", 1)], hint="page_1"):
        print(visit["page"])
elif what == "watch":  # until it is refused
    ends = time.monotonic() + float(sys.argv[2])
    try:
        while time.monotonic() < ends:
            print("seen", [visit["page"] for visit in visits.find()], flush=True)
            time.sleep(0.05)
        print("goes on")
    except PyMongoError as error:
        print("ended:", str(error).replace("\n", " "))
elif what == "writing":  # one after the other, until one is refused or none was for that many seconds
    ends = time.monotonic() + float(sys.argv[2])
    number = 0
    while time.monotonic() < ends:
        try:
            number += 1
            client.get_default_database().written.insert_one({"_id": number})
        except PyMongoError:
            break
        print(number, flush=True)
elif what == "missing":
    acknowledged = {int(line) for line in open(sys.argv[2])}
    found = {written["_id"] for written in client.get_default_database().written.find()}
    print(f"{len(acknowledged)} were acknowledged, {len(acknowledged - found)} are missing")
elif what == "forget":
    visits.delete_many({})
elif what == "fill":  # until it is refused
    while True:
        client.get_default_database().large.insert_many([{"data": os.urandom(1_000_000)} for _ in range(4)])
elif what == "drop":
    client.get_default_database().drop_collection(sys.argv[2])
