"use strict";
// The emulator as its own command starts it, but for three things in which Cosmos DB is different: it keeps connections
// open, a document that is not there is a 404 (the emulator's own handler stumbles: 500), and a query of many documents does
// not take the square of their number.
const { default: parse } = require("@zeit/cosmosdb-query");
const helpers = require("@zeit/cosmosdb-query/lib/helpers");
const handler = require("@vercel/cosmosdb-server/lib/handler/read-document");
const header = require("@vercel/cosmosdb-server/lib/utils/get-partition-from-header");

handler.default = (account, request, response, { dbId, collId, docId }) => {
  const collection = account.database(dbId).collection(collId);
  const partition = header.parsePartitionKey(header.default(request), docId);
  const document = collection.read() && collection.document(docId, partition).read();
  if (!document) {
    response.statusCode = 404;
    return { code: "NotFound", message: "Entity with the specified id does not exist in the system." };
  }
  return document;
};

// Its own code copies the list of documents for each one that it adds.
const { prototype } = parse("SELECT * FROM c").constructor;
const { get: slowCode } = Object.getOwnPropertyDescriptor(prototype, "code");
Object.defineProperty(prototype, "code", {
  get() {
    return slowCode.call(this).replace(/\[\.\.\.\$, (\{[^{}]*\})\] : \$/g, "($.push($1), $) : $");
  },
});

// Without ORDER BY documents go by _rid, a text.
const { sort } = helpers;
helpers.sort = (documents, rid, indexes, ...orders) => {
  if (orders.length) return sort(documents, rid, indexes, ...orders);
  const keyed = documents.map((one) => [rid(one), one]);
  return keyed.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)).map(([, one]) => one);
};

const { createHttpServer } = require("@vercel/cosmosdb-server");
const [host, port] = process.argv.slice(2);
const server = createHttpServer({ keepAlive: true });
server.keepAliveTimeout = 0;
server.listen(Number(port), host);
