// Publishes so many messages one after the other with each of Node's HTTP clients:
//   node_http.js <url> <key> <topic> <count>
// and prints a line for each: its name, the statuses that came, the connections it took.
const diagnostics = require("diagnostics_channel");
const http = require("http");
const [url, key, topic, count] = process.argv.slice(2);
const headers = { Authorization: `Bearer ${key}`, "Content-Type": "application/json" };

function body(n) {
    return JSON.stringify({ topic, payload: { n } });
}

// Without Content-Length: Node sends it chunked.
function post(agent, n) {
    return new Promise((resolve, reject) => {
        const request = http.request(url, { method: "POST", headers, agent }, (response) => {
            response.resume();
            response.on("end", () => resolve([response.statusCode, request.reusedSocket]));
        });
        request.on("error", reject);
        request.write(body(n).slice(0, 5));
        request.end(body(n).slice(5));
    });
}

async function withAgent() {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const statuses = new Set();
    let connections = 0;
    for (let n = 0; n < count; n++) {
        const [status, reused] = await post(agent, n);
        statuses.add(status);
        connections += reused ? 0 : 1;
    }
    agent.destroy();
    console.log("agent", [...statuses].join(), connections);
}

async function withFetch() {
    const statuses = new Set();
    let connections = 0;
    diagnostics.channel("undici:client:connected").subscribe(() => connections++);
    for (let n = 0; n < count; n++) {
        const response = await fetch(url, { method: "POST", headers, body: body(n) });
        statuses.add(response.status);
        await response.arrayBuffer();
    }
    console.log("fetch", [...statuses].join(), connections);
}

withAgent().then(withFetch).then(() => process.exit(0));
