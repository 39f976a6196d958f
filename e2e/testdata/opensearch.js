// An app in Node that searches, with nothing but what VCAP_SERVICES says.
const { Client } = require("@opensearch-project/opensearch");

const [{ credentials }] = JSON.parse(process.env.VCAP_SERVICES).elasticsearch;
const client = new Client({ node: credentials.uri, ssl: { ca: credentials.ca_certificate } });

(async () => {
  const found = await client.search({ index: "books", body: { query: { match: { title: "monsters" } } } });
  console.log("node found:", ...found.body.hits.hits.map((hit) => hit._source.title));
})().catch((e) => {
  console.error(e.message);
  process.exit(1);
});
