// The scenarios of endpoints.js with Node's ws in place of a browser's WebSocket.
//
//     node node_endpoints.js SCENARIO '{"bases":…,"users":…,"tokens":…}'
"use strict";
const fs = require("fs");
const vm = require("vm");

globalThis.WebSocket = require("ws");
vm.runInThisContext(fs.readFileSync(`${__dirname}/endpoints.js`, "utf8"));
const [name, where] = process.argv.slice(2);

vm.runInThisContext("scenarios")[name](JSON.parse(where)).then((seen) => {
    process.stdout.write(`${JSON.stringify(seen)}\n`, () => process.exit(0));
});
