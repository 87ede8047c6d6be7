"use strict";

const now = () => Math.floor(Date.now() / 1000);
const fresh = (prefix) => `${prefix}-${Math.random().toString(36).slice(2, 8)}`;
const stamp = () => new Date().toISOString();

/* Of each protocol: its path, what its URL says of the user, and messages to begin with. */
const protocols = {
  realtime: {
    path: "/ws", naming: () => ({}),
    examples: {
      "Subscribe": () => ({ type: "Subscribe", data: { topics: ["chat.general", "presence.*"] }, id: fresh("s") }),
      "Broadcast": () => ({ type: "Broadcast", data: { topic: "chat.general", payload: { message: "Hello everyone!" } }, id: fresh("b"), metadata: { echo: true } }),
      "DirectMessage": () => ({ type: "DirectMessage", data: { target_user: "bob", payload: { message: "Hello" } }, id: fresh("d") }),
      "Presence": () => ({ type: "Presence", data: { status: "away" }, id: fresh("p") }),
      "Ping": () => ({ type: "Ping", data: { timestamp: now() } }),
    },
  },
  messaging: {
    path: "/messaging", naming: (user) => ({ client_id: user, acks: "1" }),
    examples: {
      "send": (user) => ({ send: [{ id: fresh("m"), sid: user, rid: "bob", text: "Hello" }] }),
      "read": () => ({ read: [{ id: "m-1" }] }),
    },
  },
  chat: {
    path: "/chat", naming: () => ({}),
    examples: {
      "subscribe": () => ({ type: "request", id: fresh("r"), timestamp: now(), payloadType: "subscribe", payload: { lastEventId: 0 } }),
      "new": () => ({ type: "request", id: fresh("r"), timestamp: now(), payloadType: "new", payload: { chatId: "bob", message: "Hello" } }),
      "getChats": () => ({ type: "request", id: fresh("r"), timestamp: now(), payloadType: "getChats", payload: {} }),
    },
  },
  simple: {
    path: "/simple", naming: (user) => ({ username: user }),
    examples: {
      "send_message": () => ({ type: "send_message", payload_id: fresh("p"), message: "Hello" }),
    },
  },
  callie: {
    path: "/callie", naming: () => ({}),
    examples: {
      "MSG": (user) => ({ sender: user, recipient: "bob", timestamp: stamp(), type: "MSG", content: { text: "Hello" }, payloadID: fresh("p"), payloadVersion: "1.0" }),
      "PING": (user) => ({ sender: user, recipient: "SERVER", timestamp: stamp(), type: "PING", content: {}, payloadID: fresh("p"), payloadVersion: "1.0" }),
    },
  },
};

const FRAMES_SHOWN = 500;
const $ = (id) => document.getElementById(id);
let socket = null;

function setState(kind, text) {
  $("state").className = `state ${kind}`;
  $("state").textContent = text;
  $("toggle").textContent = socket ? "Disconnect" : "Connect";
  $("submit").disabled = kind !== "open";
}

function pretty(text) {
  if (!$("pretty").checked) return text;
  try {
    /* Numbers that a double would change stay as they came. */
    return /\d{16}/.test(text) ? text : JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function show(kind, what, text) {
  const item = document.createElement("li");
  const head = document.createElement("small");
  item.className = kind;
  head.textContent = `${new Date().toLocaleTimeString()}  ${what}`;
  item.append(head);
  if (text) {
    const body = document.createElement("pre");
    body.textContent = text;
    item.append(body);
  }
  $("log").prepend(item);
  while ($("log").children.length > FRAMES_SHOWN) $("log").lastChild.remove();
}

const hex = (bytes) => Array.from(new Uint8Array(bytes).slice(0, 256),
  (byte) => byte.toString(16).padStart(2, "0")).join(" ");

function connect() {
  const { path, naming } = protocols[$("protocol").value];
  const user = $("user").value.trim();
  const token = $("token").value.trim();
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const query = new URLSearchParams(user ? naming(user) : {});
  const url = `${scheme}://${location.host}${path}${[...query].length ? `?${query}` : ""}`;
  /* As a subprotocol the token is in no URL, hence in no proxy's log. */
  socket = new WebSocket(url, token ? [`access_token.${token}`] : []);
  socket.binaryType = "arraybuffer";
  const own = socket;
  let opened = false;
  own.onopen = () => {
    opened = true;
    setState("open", "connected");
    show("", `connected to ${url}`);
  };
  own.onmessage = (event) => typeof event.data === "string"
    ? show("in", "received", pretty(event.data))
    : show("in", `received ${event.data.byteLength} bytes`, hex(event.data));
  own.onclose = (event) => {
    if (socket === own) socket = null;
    const why = opened ? `closed with ${event.code}${event.reason ? `: ${event.reason}` : ""}`
      : "refused: is the token valid, and the user permitted?";
    setState(opened && event.code === 1000 ? "closed" : "bad", opened ? `closed (${event.code})` : "refused");
    show("bad", why);
  };
  setState("opening", "connecting …");
}

function disconnect() {
  socket.close(1000);
}

function check() {
  $("valid").textContent = "";
  try {
    JSON.parse($("message").value);
  } catch (error) {
    if ($("message").value.trim()) $("valid").textContent = "no JSON (it is sent as it stands)";
  }
}

function send() {
  const text = $("message").value;
  if (!socket || socket.readyState !== WebSocket.OPEN || !text) return;
  socket.send(text);
  show("out", "sent", pretty(text));
}

function fillExample() {
  const { examples } = protocols[$("protocol").value];
  const make = examples[$("example").value];
  if (make) $("message").value = JSON.stringify(make($("user").value.trim() || "alice"), null, 2);
  check();
}

function fillExamples() {
  const names = Object.keys(protocols[$("protocol").value].examples);
  $("example").replaceChildren(...names.map((name) => new Option(name)));
  fillExample();
}

/* Whose token it is: its second part says so. */
function readToken() {
  try {
    const part = $("token").value.split(".")[1].replace(/-/g, "+").replace(/_/g, "/");
    const claims = JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(part), (c) => c.charCodeAt(0))));
    if (claims.sub) $("user").value = claims.sub;
  } catch { /* no token yet */ }
  fillExample();
}

$("connect").addEventListener("submit", (event) => {
  event.preventDefault();
  if (socket) disconnect(); else connect();
});
$("send").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
$("message").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    send();
  }
});
$("message").addEventListener("input", check);
$("example").addEventListener("change", fillExample);
$("protocol").addEventListener("change", fillExamples);
$("token").addEventListener("input", readToken);
$("clear").addEventListener("click", () => $("log").replaceChildren());
$("protocol").replaceChildren(...Object.keys(protocols).map((name) => new Option(name)));
fillExamples();
setState("closed", "not connected");
