// Node's ws: alice on one gateway writes to bob on the other, each with the token in the given way.
//
//     node node_ws.js query|header|subprotocol URL URL TOKEN TOKEN BOB
"use strict";
const WebSocket = require("ws");

const [way, aliceUrl, bobUrl, aliceToken, bobToken, bob] = process.argv.slice(2);

const ways = {
    query: (url, token) => new WebSocket(`${url}?token=${token}`),
    header: (url, token) => new WebSocket(url, { headers: { Authorization: `Bearer ${token}` } }),
    subprotocol: (url, token) => new WebSocket(url, [`access_token.${token}`]),
};

function fail(error) {
    console.error(error);
    process.exit(1);
}

function connect(url, token) {
    const socket = ways[way](url, token);
    socket.on("error", fail);
    return socket;
}

// The next message that fits; all that come before it are passed over.
function next(socket, fits) {
    return new Promise((resolve) => {
        socket.on("message", function listener(data) {
            const message = JSON.parse(data.toString());
            if (!fits(message)) return;
            socket.off("message", listener);
            resolve(message);
        });
    });
}

async function main() {
    const alice = connect(aliceUrl, aliceToken), receiver = connect(bobUrl, bobToken);
    const welcomes = await Promise.all(
        [alice, receiver].map((socket) => next(socket, (message) => message.type === "Status")));
    // A pattern is known to every partition, and then his is known, too: sooner, it may be queued.
    const known = next(receiver, (message) => message.type === "Ack");
    receiver.send(JSON.stringify({ type: "Subscribe", id: "s1", data: { topics: ["any.*"] } }));
    await known;
    const delivery = next(receiver, (message) => message.type === "DirectMessage");
    const ack = next(alice, (message) => message.id === "m1");
    alice.send(JSON.stringify({
        type: "DirectMessage", id: "m1",
        data: { target_user: bob, payload: { message: "héllo 🎈" } },
    }));
    const seen = {
        connection_id: welcomes[1].data.details.connection_id,
        subprotocol: alice.protocol,
        ack: await ack,
        delivery: await delivery,
    };
    receiver.close();
    alice.close(1000);
    alice.on("close", (code) => {
        console.log(JSON.stringify({ ...seen, close_code: code }));
    });
}

main().catch(fail);
