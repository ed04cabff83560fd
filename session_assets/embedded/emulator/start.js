"use strict";
// The emulator as its own command starts it, but for two things in which Cosmos DB is different:
// it keeps connections open, and a document that is not there is a 404 (the emulator's own handler stumbles: 500).
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

const { createHttpServer } = require("@vercel/cosmosdb-server");
const [host, port] = process.argv.slice(2);
const server = createHttpServer({ keepAlive: true });
server.keepAliveTimeout = 0;
server.listen(Number(port), host);
