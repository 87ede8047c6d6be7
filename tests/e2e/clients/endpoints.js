// A browser's WebSocket at each endpoint (or Node's, which has the same members). Each of `scenarios`
// is told both gateways and two users with tokens, {bases, users, tokens}, and returns what came.
"use strict";

function connect(url, subprotocols = []) {
    const socket = new WebSocket(url, subprotocols);
    const client = { socket, frames: [], waiting: [] };
    client.open = new Promise((resolve, reject) => {
        socket.onopen = () => resolve(client);
        socket.onerror = () => reject(new Error(`not connected to ${url}`));
    });
    client.closed = new Promise((resolve) => { socket.onclose = resolve; });
    socket.onmessage = (event) => {
        client.frames.push(JSON.parse(event.data));
        client.waiting = client.waiting.filter((check) => !check());
    };
    // The first frame that fits, when it is there.
    client.until = (fits) => new Promise((resolve) => {
        const check = () => client.frames.some((frame) => fits(frame) && (resolve(frame), true));
        if (!check()) client.waiting.push(check);
    });
    client.say = (message) => socket.send(JSON.stringify(message));
    return client;
}

// A client of each user, the second one at the second gateway; the token is the subprotocol.
async function withTokens({ bases, tokens }, path, query = ["", ""]) {
    const both = tokens.map((token, n) =>
        connect(`${bases[n]}${path}${query[n]}`, [`access_token.${token}`]));
    await Promise.all(both.map((client) => client.open));
    if (both.some((client, n) => client.socket.protocol !== `access_token.${tokens[n]}`))
        throw new Error("the subprotocol was not echoed");
    return both;
}

const isType = (type) => (frame) => frame.type === type;

const scenarios = {
    async realtime(where) {
        const [alice, bob] = await withTokens(where, "/ws");
        await alice.until(isType("Status"));
        bob.say({ type: "Subscribe", id: "0", data: { topics: ["page.*"] } });
        // Every partition knows a pattern, and his knows him: sooner, it may be queued first.
        await bob.until(isType("Ack"));
        alice.say({ type: "DirectMessage", id: "1",
            data: { target_user: where.users[1], payload: { message: "héllo 🎈" } } });
        const delivery = await bob.until(isType("DirectMessage"));
        const ack = await alice.until(isType("Ack"));
        alice.socket.close(1000);
        return { delivery, ack, code: (await alice.closed).code };
    },

    async messaging(where) { // names are believed, as the source has it
        const [alice, bob] = where.users.map((user, n) =>
            connect(`${where.bases[n]}/messaging?client_id=${user}`));
        await Promise.all([alice.open, bob.open]);
        alice.say({ send: [{ id: 11, rid: where.users[1], sid: where.users[0], text: "hello" }] });
        const delivery = await bob.until((frame) => frame.messages);
        const later = connect(`${where.bases[0]}/messaging?client_id=${where.users[1]}`);
        const again = await later.until((frame) => frame.messages);
        return { delivery, again, code: (await bob.closed).code };
    },

    async messagingWithTokens(where) {
        const [alice, bob] = await withTokens(where, "/messaging",
            where.users.map((user) => `?client_id=${user}`));
        alice.say({ send: [{ id: 11, rid: where.users[1], sid: where.users[0], text: "hello" }] });
        return { delivery: await bob.until((frame) => frame.messages) };
    },

    async chat(where) {
        const [alice, bob] = await withTokens(where, "/chat");
        const request = (id, payloadType, payload) =>
            ({ type: "request", timestamp: 1700000000, id, payloadType, payload });
        const answer = (id) => (frame) => frame.type === "response" && frame.id === id;
        bob.say(request("b1", "subscribe", { lastEventId: 0 }));
        await bob.until(answer("b1"));
        alice.say(request("a1", "new", { chatId: where.users[1], message: "Hi!" }));
        const response = await alice.until(answer("a1"));
        return { response, event: await bob.until((frame) => frame.eventType === "new") };
    },

    async simple(where) { // the name in the URL: a page cannot set the header
        const [alice, bob] = where.users.map((user, n) =>
            connect(`${where.bases[n]}/simple?username=${user}`));
        await bob.until((frame) => frame.username === where.users[0]);
        await alice.until((frame) => frame.username === where.users[1]);
        alice.say({ type: "send_message", payload_id: "1", message: "hello" });
        const reply = await alice.until(isType("reply"));
        const delivery = await bob.until(isType("message_sent"));
        alice.socket.close();
        return { reply, delivery, gone: await bob.until(isType("user_disconnected")) };
    },

    async simpleWithTokens(where) {
        const [alice, bob] = await withTokens(where, "/simple");
        await bob.until((frame) => frame.username === where.users[0]);
        alice.say({ type: "send_message", payload_id: "1", message: "hello" });
        return { delivery: await bob.until(isType("message_sent")) };
    },

    async callie(where) { // the token on the upgrade, then in the first payload
        const [alice] = await withTokens(where, "/callie");
        const bob = await connect(`${where.bases[1]}/callie`).open;
        const payload = (n, more) => ({ token: where.tokens[n], sender: where.users[n],
            timestamp: new Date().toISOString(), metadata: {}, payloadVersion: "1.0", ...more });
        const code = (name) => (frame) => frame.type === "SYS" && frame.content.code === name;
        bob.say(payload(1, { recipient: "SERVER", type: "PING", content: {}, payloadID: "p0" }));
        await Promise.all([alice.until(code("AUTH_OK")), bob.until(code("AUTH_OK")),
            bob.until(isType("PONG"))]);
        bob.say(payload(1, { recipient: where.users[1], type: "PING", content: {},
            payloadID: "p0" }));
        await bob.until(isType("PING")); // his partition knows him: sooner, it may be discarded
        alice.say(payload(0, { recipient: where.users[1], type: "MSG", payloadID: "p1",
            content: { messageID: "m1", text: "hello" } }));
        alice.say(payload(0, { recipient: "nobody-at-all", type: "MSG", payloadID: "p2",
            content: { messageID: "m2", text: "hello" } }));
        return { delivery: await bob.until(isType("MSG")),
            offline: await alice.until(code("RECIPIENT_OFFLINE")) };
    },

    // What a page sees of a refusal: no connection, and 1006.
    async refused(where) {
        const codes = ["/ws", "/messaging", "/chat", "/simple", "/nowhere"].map(async (path) => {
            const client = connect(`${where.bases[0]}${path}`, ["access_token.wrong"]);
            client.open.catch(() => {});
            return (await client.closed).code;
        });
        return Promise.all(codes);
    },
};
