// Node's ws speaking messaging and simple as their sources say it, and nothing more.
//
//     node node_texts.js messaging|simple ws://HOST:PORT ws://HOST:PORT NAME NAME
"use strict";
const WebSocket = require("ws");

const [protocol, aliceBase, bobBase, alice, bob] = process.argv.slice(2);

function connect(url) {
    const socket = new WebSocket(url);
    socket.frames = [];
    socket.waiting = [];
    socket.on("error", (error) => {
        console.error(error);
        process.exit(1);
    });
    socket.on("message", (data) => {
        socket.frames.push(JSON.parse(data.toString()));
        socket.waiting = socket.waiting.filter((check) => !check());
    });
    return socket;
}

function open(socket) {
    return new Promise((resolve) => socket.on("open", () => resolve(socket)));
}

// All frames, when one of them fits.
function until(socket, fits) {
    return new Promise((resolve) => {
        const check = () => socket.frames.some(fits) && (resolve(socket.frames), true);
        if (!check()) socket.waiting.push(check);
    });
}

const protocols = {
    // Sends to one who is away; he reads it and comes again.
    async messaging() {
        const sender = await open(connect(`${aliceBase}/messaging?client_id=${alice}`));
        sender.send(JSON.stringify({ send: [
            { id: 11, rid: Number(bob), sid: Number(alice), text: "hello" },
            { id: 12, rid: Number(bob), sid: Number(alice), url: "https://web.com/pic.png" },
        ] }));
        const has = (id) => (frame) => frame.messages && frame.messages.some((m) => m.id === id);
        const first = connect(`${bobBase}/messaging?client_id=${bob}`);
        const seen = [].concat(await until(first, has(12)));
        first.send(JSON.stringify({ read: [{ id: 11 }] }));
        first.close();
        await new Promise((resolve) => first.on("close", resolve));
        const again = connect(`${bobBase}/messaging?client_id=${bob}`);
        return { first: seen, again: await until(again, has(12)), sender: sender.frames };
    },
    // Two in the room, by the URL's user and password.
    async simple() {
        const named = (base, name) => base.replace("//", `//${name}:secret@`);
        const sender = connect(`${named(aliceBase, alice)}/simple`);
        await until(sender, (frame) => frame.username === alice);
        const receiver = connect(`${named(bobBase, bob)}/simple`);
        await until(receiver, (frame) => frame.username === alice);
        sender.send(JSON.stringify({ type: "send_message", payload_id: "1", message: "hello" }));
        return {
            sender: await until(sender, (frame) => frame.type === "reply"),
            receiver: await until(receiver, (frame) => frame.type === "message_sent"),
        };
    },
};

protocols[protocol]().then((seen) => {
    process.stdout.write(`${JSON.stringify(seen)}\n`, () => process.exit(0));
});
