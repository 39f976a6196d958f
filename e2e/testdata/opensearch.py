"""An app that searches, with nothing but what VCAP_SERVICES says."""

import json
import os
import sys

import certifi
from opensearchpy import OpenSearch, helpers
from opensearchpy.exceptions import ConnectionError, TransportError

credentials = json.loads(os.environ["VCAP_SERVICES"])["elasticsearch"][0]["credentials"]


authority = "authority.pem"
with open(authority, "w") as f:
    f.write(credentials["ca_certificate"])
client = OpenSearch(credentials["uri"], ca_certs=authority, timeout=120)
match sys.argv[1:]:
    case ["index", *titles]:
        if not client.indices.exists(index="books"):
            client.indices.create(index="books", body={"mappings": {"properties": {
                "title": {"type": "text", "analyzer": "english"}}}})
        actions = ({"_index": "books", "_source": {"title": title, "number": i}} for i, title in enumerate(titles))
        made, _ = helpers.bulk(client, actions, refresh=True)
        print(made, "indexed")
    case ["search", words]:
        found = client.search(index="books", body={"query": {"match": {"title": words}}})
        print("found:", *sorted(hit["_source"]["title"] for hit in found["hits"]["hits"]))
    case ["load", number]:
        actions = ({"_index": "lines", "_id": i, "line": f"line {i}"} for i in range(int(number)))
        made, _ = helpers.bulk(client, actions, chunk_size=1000, refresh=True)
        print(made, "loaded,", client.count(index="lines")["count"], "there")
    case ["script"]:
        done = client.update_by_query(index="books", refresh=True, body={
            "script": {"lang": "painless", "source": "ctx._source.number += 1"}})
        print(done["updated"], "updated")
    case ["greedy"]:
        client.search(index="books", body={"script_fields": {"f": {"script": {"source":
            "def l = []; for (int i = 0; i < 900; i++) { l.add(new byte[1000000]); } return l.size();"}}}})
    case ["end", scroll]:
        client.clear_scroll(scroll_id=scroll)
    case ["elasticsearch"]:
        from elasticsearch import Elasticsearch

        old = Elasticsearch(credentials["uri"], ca_certs=authority, timeout=120)
        print("Elasticsearch's client counts", old.count(index="books")["count"])
    case ["fill"]:
        # What is logged is given back when the instance is full, and it would not be full any more.
        client.indices.create(index="large", body={"mappings": {"enabled": False}, "settings": {
            "index.translog.flush_threshold_size": "16mb"}})
        while True:
            try:
                helpers.bulk(client, ({"_index": "large", "text": os.urandom(50_000).hex()} for _ in range(20)))
            except TransportError as e:
                if e.error != "circuit_breaking_exception":  # which passes
                    raise
    case ["drop", index]:
        client.indices.delete(index=index)
    case ["as", path]:
        with open(path) as f:
            other = json.load(f)["elasticsearch"][0]["credentials"]
        try:
            address = f"https://{credentials['host']}:{credentials['port']}"
            OpenSearch(address, ca_certs=authority, http_auth=(other["username"], other["password"])).info()
            print("let in")
        except TransportError as e:
            print("refused:", e.status_code)
    case ["distrust"]:
        try:
            OpenSearch(credentials["uri"], ca_certs=certifi.where()).info()
        except ConnectionError as e:
            print("refused:", e)
    case ["walls"]:
        for method, path, body in [
            ("GET", "/_plugins/_security/api/internalusers", None),
            ("PUT", "/_plugins/_security/api/internalusers/evil", {"password": "correct horse battery staple"}),
            ("GET", "/.opendistro_security/_doc/internalusers", None),
            ("PUT", "/_snapshot/mine", {"type": "fs", "settings": {"location": "/tmp"}}),
            ("PUT", "/_cluster/settings", {"transient": {"cluster.blocks.read_only": True}}),
            ("GET", "/_nodes", None),
        ]:
            try:
                client.transport.perform_request(method, path, body=body)
                print(method, path, "let through")
            except TransportError as e:
                print(method, path, "refused:", e.status_code)
