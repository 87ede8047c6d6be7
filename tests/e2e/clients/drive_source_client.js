// Runs the client of the source (compiled, as it is) as a browser would: with a global WebSocket.
//
//     node drive_source_client.js COMPILED URL URL TOKEN TOKEN BOB
"use strict";
const fs = require("fs");
const vm = require("vm");

const [compiled, aliceUrl, bobUrl, aliceToken, bobToken, bob] = process.argv.slice(2);

globalThis.WebSocket = require("ws");
console.log = () => {}; // the client talks; our one line goes out by itself
vm.runInThisContext(fs.readFileSync(compiled, "utf8"), compiled);
const Client = vm.runInThisContext("RealtimeProtocolClient");

function received(client, type) {
    return new Promise((resolve) => client.on(type, resolve));
}

async function main() {
    const alice = new Client(aliceUrl, aliceToken), receiver = new Client(bobUrl, bobToken);
    const arrivals = ["Broadcast", "DirectMessage"].map((type) => received(receiver, type));
    await Promise.all([alice.connect(), receiver.connect()]);
    const topics = ["chat.general", "notifications"];
    await receiver.subscribe([...topics, "any.*"]); // a pattern: then every partition knows him
    const seen = {
        subscribe: await alice.subscribe(topics),
        broadcast: await alice.broadcast("chat.general", { message: "Hello, subscribers!" }),
        direct: await alice.sendDirectMessage(bob, { message: "hello" }),
    };
    const [Broadcast, DirectMessage] = await Promise.all(arrivals);
    const line = JSON.stringify({ ...seen, received: { Broadcast, DirectMessage } });
    fs.writeSync(1, `${line}\n`);
    process.exit(0); // its timers for unanswered requests run for 30 seconds
}

main().catch((error) => {
    console.error(error);
    process.exit(1);
});
