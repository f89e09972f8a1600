import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { type AgentEvents, Gateway, type GatewayOptions } from "@belay/controller/fleet/gateway";
import { Presence } from "@belay/controller/fleet/presence";
import {
  BelayError,
  CloseCode,
  type ControllerMessage,
  decodeControllerMessage,
  encode,
  type FactProbe,
  type Hello,
  MAX_FRAME_BYTES,
  type Op,
  offerProtocols,
  protocolNamed,
} from "@belay/shared";
import { pino } from "pino";
import t, { type Test } from "tap";
import { WebSocket } from "ws";
import { until } from "../support/real-fleet/until.js";

const TOKEN = "a-token-of-node-1";
const TOKEN_2 = "a-token-of-node-2";
const HOSTS: Readonly<Record<string, string>> = { [`Bearer ${TOKEN}`]: "node-1", [`Bearer ${TOKEN_2}`]: "node-2" };

/** An op that came with protocol 2. */
const later: Op = {
  kind: "upgrade-agent",
  versionsDir: "/opt/belay/agent/versions",
  link: "/opt/belay/agent/current",
  from: "0.1.0",
  to: "0.2.0",
  sha256: "0".repeat(64),
  settleMs: 1000,
  returnMs: 30_000,
};

/** A gateway on a real port, with one known host, and a record of all it passed on. */
async function openGateway(
  t: Test,
  options: Partial<GatewayOptions> = {},
  probeOf: (host: string) => FactProbe | null = () => null,
) {
  const journals = new Map<string, string>();
  const heard: string[] = [];
  const events: AgentEvents = {
    connected: async (host, hello, forgot) => {
      heard.push(`connected ${host} open=${hello.open.length} forgot=${forgot}`);
    },
    disconnected: (host) => heard.push(`disconnected ${host}`),
    outcome: (host, { step, outcome }) => heard.push(`outcome ${host} ${step} ${outcome.status}`),
    progress: (host, { note }) => heard.push(`progress ${host} ${note}`),
  };
  const presence = new Presence();
  const gateway = new Gateway({
    hostOf: async ({ headers }) => HOSTS[headers.authorization ?? ""] ?? null,
    trust: null,
    registry: {
      journalOf: async (host) => journals.get(host) ?? null,
      saveJournal: async (host, journal) => {
        journals.set(host, journal);
      },
    },
    presence,
    events,
    probeOf,
    now: Date.now,
    log: pino({ level: "silent" }),
    options: { pingEveryMs: 60_000, ...options },
  });
  const server = createServer();
  server.on("upgrade", (request, socket, head) => void gateway.upgrade(request, socket, head));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(async () => {
    await gateway.close();
    server.close();
  });
  const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}/v1/agent`;
  return { gateway, presence, heard, url };
}

const hello: Hello = {
  type: "hello",
  protocol: 1,
  host: "node-1",
  agentVersion: "0.1.0",
  journal: "00000000-aaaa",
  open: [],
};

/** A peer that speaks the real protocol, or whatever it is told to. */
class Peer {
  readonly socket: WebSocket;
  readonly closed: Promise<number>;
  readonly #messages: ControllerMessage[] = [];
  #wake: () => void = () => {};

  /** Offers the protocols that it is given; an agent of protocol 1 offers none. */
  constructor(url: string, token = TOKEN, protocols: readonly string[] = []) {
    this.socket = new WebSocket(url, [...protocols], { headers: { authorization: `Bearer ${token}` } });
    this.closed = new Promise((resolve) => this.socket.once("close", resolve));
    this.socket.on("error", () => {});
    this.socket.on("message", (data) => {
      this.#messages.push(decodeControllerMessage(data.toString(), protocolNamed(this.socket.protocol) ?? 1));
      this.#wake();
    });
  }

  async say(message: unknown): Promise<void> {
    if (this.socket.readyState === WebSocket.CONNECTING) await once(this.socket, "open");
    this.socket.send(typeof message === "string" ? message : JSON.stringify(message));
  }

  async hear(): Promise<ControllerMessage> {
    for (;;) {
      const message = this.#messages.shift();
      if (message !== undefined) return message;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

t.test("hello is answered with welcome, and outcomes are passed on", async (t) => {
  const { url, presence, heard, gateway } = await openGateway(t);
  const peer = new Peer(url);
  await peer.say(hello);
  t.match(await peer.hear(), { type: "welcome", protocol: 1, probe: null });
  t.ok(presence.isPresent("node-1"));
  await peer.say({
    type: "outcome",
    step: "r/s/node-1/0/1",
    outcome: { status: "done", changed: false },
    startedAt: 1,
    endedAt: 2,
  });
  t.ok(gateway.send("node-1", { type: "ack", step: "r/s/node-1/0/1" }));
  t.same(await peer.hear(), { type: "ack", step: "r/s/node-1/0/1" });
  await peer.say({ type: "progress", step: "r/s/node-1/0/1", note: "half" });
  peer.socket.close();
  await peer.closed;
  while (presence.isPresent("node-1")) await new Promise((resolve) => setImmediate(resolve));
  t.same(heard, [
    "connected node-1 open=0 forgot=false",
    "outcome node-1 r/s/node-1/0/1 done",
    "progress node-1 half",
    "disconnected node-1",
  ]);
  t.notOk(gateway.send("node-1", { type: "ack", step: "r/s/node-1/0/1" }), "nobody is there any more");
});

t.test("without a valid token there is no connection", async (t) => {
  const { url, gateway } = await openGateway(t);
  for (const token of ["another-token-of-nobody", ""]) {
    const peer = new Peer(url, token);
    t.equal(await peer.closed, 1006);
  }
  t.equal(gateway.refused.get("unauthorized"), 2);
});

t.test("a token speaks for its own host alone", async (t) => {
  const { url, presence } = await openGateway(t);
  const peer = new Peer(url);
  await peer.say({ ...hello, host: "auth-1" });
  t.match(await peer.hear(), { type: "refused", retry: false, error: { code: "host-mismatch" } });
  t.equal(await peer.closed, CloseCode.malformed);
  t.notOk(presence.isPresent("auth-1"));
});

t.test("malformed, unknown, binary and oversized messages close that connection and no other", async (t) => {
  const { url, gateway, presence } = await openGateway(t);
  const bad: [string, unknown][] = [
    ["not JSON", "{"],
    ["unknown type", { type: "root-me" }],
    ["second hello", hello],
    ["facts of another host", JSON.parse(encodeFacts("auth-1"))],
    ["too many fields", { type: "accepted", step: "r/s/node-1/0/1", extra: true }],
    ["oversized", " ".repeat(MAX_FRAME_BYTES + 1)],
  ];
  for (const [name, message] of bad) {
    const peer = new Peer(url);
    await peer.say(hello);
    t.match(await peer.hear(), { type: "welcome" });
    await peer.say(message);
    t.ok([CloseCode.malformed, 1009].includes((await peer.closed) as 1009), name);
  }
  const peer = new Peer(url);
  await peer.say(hello);
  t.match(await peer.hear(), { type: "welcome" }, "the host may come back");
  peer.socket.send(Buffer.from([1, 2, 3]), { binary: true });
  t.match(await peer.hear(), { type: "refused", error: { code: "message-malformed" } });
  t.equal(gateway.refused.get("hello-again"), 1);
  await peer.closed;
  while (presence.isPresent("node-1")) await new Promise((resolve) => setImmediate(resolve));
});

t.test("a connection that says nothing is closed", async (t) => {
  const { url, gateway } = await openGateway(t, { helloTimeoutMs: 20 });
  const peer = new Peer(url);
  t.equal(await peer.closed, CloseCode.helloTimeout);
  t.equal(gateway.refused.get("hello-timeout"), 1);
});

t.test("a protocol that was not agreed on, or that nobody here speaks, is told so", async (t) => {
  const { url } = await openGateway(t);
  for (const [protocols, protocol] of [
    [[], 99],
    [[], 2],
    [["belay.1", "belay.2"], 1],
    [["belay.98", "belay.99"], 98],
    [["chat"], 1],
  ] as const) {
    const peer = new Peer(url, TOKEN, protocols);
    await peer.say({ ...hello, protocol });
    const refused = JSON.stringify(await peer.hear());
    t.match(refused, /"refused".*"protocol-unsupported"/, `offered ${protocols.join()}, said ${protocol}`);
    t.equal(await peer.closed, CloseCode.protocol);
  }
});

t.test("the newest protocol that both speak is agreed on", async (t) => {
  const { url, presence } = await openGateway(t);
  const peer = new Peer(url, TOKEN, [...offerProtocols(), "belay.99"]);
  await peer.say({ ...hello, protocol: 2 });
  t.match(await peer.hear(), { type: "welcome", protocol: 2 });
  t.equal(presence.sightOf("node-1")?.protocol, 2);
});

t.test("an agent of protocol 1 is sent and may say what protocol 1 has, and nothing else", async (t) => {
  const { url, gateway, heard, presence } = await openGateway(t);
  const agent = new Peer(url);
  await agent.say(hello);
  t.match(await agent.hear(), { type: "welcome", protocol: 1 });
  t.equal(presence.sightOf("node-1")?.protocol, 1);
  const { told, asked } = recorded();
  for (const frame of asked) {
    t.ok(gateway.send("node-1", JSON.parse(frame)));
    t.same(await agent.hear(), JSON.parse(frame));
  }
  for (const frame of told) await agent.say(frame);
  await agent.say({ type: "progress", step: "r/s/node-1/0/1", note: "all said" });
  while (!heard.includes("progress node-1 all said")) await new Promise((resolve) => setImmediate(resolve));
  t.equal(heard.filter((line) => line.startsWith("outcome")).length, told.length, "nobody was cut off");

  const step = { type: "step", step: "r/s/node-1/9/1", fence: 1, check: false, deadlineMs: 1000, op: later } as const;
  t.throws(() => gateway.send("node-1", step), { code: "agent-too-old", hint: /belay agent upgrade/ });
  t.ok(gateway.send("node-1", { type: "ack", step: step.step }));
  t.match(await agent.hear(), { type: "ack" }, "of that step it never heard");
});

t.test("a newer connection replaces an older one, and the host never counts as gone", async (t) => {
  const { url, heard, presence } = await openGateway(t);
  const first = new Peer(url);
  await first.say(hello);
  await first.hear();
  const second = new Peer(url);
  await second.say(hello);
  await second.hear();
  t.equal(await first.closed, CloseCode.replaced);
  t.ok(presence.isPresent("node-1"));
  t.notOk(heard.includes("disconnected node-1"));
});

t.test("I7: a host that comes back with another journal has forgotten what it was sent", async (t) => {
  const { url, heard } = await openGateway(t);
  for (const journal of ["00000000-aaaa", "00000000-aaaa", "00000000-bbbb"]) {
    const peer = new Peer(url);
    await peer.say({ ...hello, journal, open: ["r/s/node-1/0/1"] });
    await peer.hear();
    peer.socket.terminate();
    await peer.closed;
  }
  t.same(
    heard.filter((line) => line.startsWith("connected")),
    [
      "connected node-1 open=1 forgot=false",
      "connected node-1 open=1 forgot=false",
      "connected node-1 open=1 forgot=true",
    ],
  );
});

t.test("an agent that answers no ping is let go", async (t) => {
  const { url, heard } = await openGateway(t, { pingEveryMs: 100 });
  const peer = new Peer(url);
  await peer.say(hello);
  await peer.hear();
  // A socket that reads nothing answers nothing.
  peer.socket.pause();
  while (!heard.includes("disconnected node-1")) await new Promise((resolve) => setTimeout(resolve, 5));
  peer.socket.terminate();
  t.pass("the host counts as gone");
});

t.test("an agent that does not read is cut off before it costs memory", async (t) => {
  const { url, gateway, heard } = await openGateway(t);
  const peer = new Peer(url);
  await peer.say(hello);
  await peer.hear();
  peer.socket.pause();
  const big = "x".repeat(200);
  let sent = 0;
  while (gateway.send("node-1", { type: "refused", error: { code: "noise", message: big.repeat(20) }, retry: true })) {
    sent += 1;
    if (sent % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
    if (sent > 50_000) break;
  }
  t.ok(sent < 50_000, `cut off after ${sent} messages`);
  while (!heard.includes("disconnected node-1")) await new Promise((resolve) => setTimeout(resolve, 5));
  peer.socket.terminate();
});

t.test("a host holds few connections that have not said hello, and none of another host's", async (t) => {
  const { url, gateway, heard } = await openGateway(t, { maxPendingPerHost: 3 });
  const silent = Array.from({ length: 3 }, () => new Peer(url));
  await Promise.all(silent.map(({ socket }) => once(socket, "open")));
  const fourth = new Peer(url);
  t.equal(await fourth.closed, 1006, "one too many");
  t.equal(gateway.refused.get("too-many-connections"), 1);
  silent[0]?.socket.terminate();
  // Its place is free as soon as the gateway has seen it go.
  for (;;) {
    const next = new Peer(url);
    const opened = once(next.socket, "open").then(
      () => true,
      () => false,
    );
    if (!(await opened)) continue;
    await next.say(hello);
    await next.hear();
    break;
  }
  t.ok(heard.includes("connected node-1 open=0 forgot=false"));
});

t.test("an agent that says too much is read slowly, and nobody else is", async (t) => {
  const { url, heard } = await openGateway(t, { messages: { burst: 100, perSecond: 0.001 } });
  const [flooder, quiet] = [new Peer(url), new Peer(url, TOKEN_2)];
  await flooder.say(hello);
  await flooder.hear();
  await quiet.say({ ...hello, host: "node-2" });
  await quiet.hear();
  const count = (start: string) => heard.filter((line) => line.startsWith(start)).length;
  const flood = 100_000;
  const word = (note: number | string) => ({ type: "progress", step: "r/s/h/0/1", note: String(note) });
  for (let sent = 0; sent < flood; sent++) await flooder.say(word(sent));
  await quiet.say(word("still heard"));
  while (!heard.includes("progress node-2 still heard")) await new Promise((resolve) => setTimeout(resolve, 5));
  const read = count("progress node-1");
  t.ok(read >= 100, "its burst was read");
  t.ok(read < flood / 2, `${read} of ${flood} were read; the others wait on its own side`);
  flooder.socket.terminate();
});

/** Steps and outcomes as builds of protocol 1 sent them. */
function recorded(): { asked: string[]; told: string[] } {
  const framesOf = (side: string) =>
    readFileSync(new URL(`../protocol/frames/v1/${side}.jsonl`, import.meta.url), "utf8")
      .trimEnd()
      .split("\n");
  return {
    asked: framesOf("controller").filter((frame) => frame.startsWith('{"type":"step"')),
    told: framesOf("agent").filter((frame) => frame.startsWith('{"type":"outcome"')),
  };
}

function encodeFacts(host: string): string {
  return encode({
    type: "facts",
    facts: {
      host,
      at: 1,
      agentVersion: "0.1.0",
      os: "linux",
      arch: "amd64",
      edition: "oss",
      fips: false,
      installed: null,
      running: null,
      kept: [],
      service: { name: "teleport", state: "stopped", pid: null, restarts: 0 },
      healthy: false,
      ailments: [],
      disks: [],
    },
  });
}

t.test("whoever must look at something else is let go, to be welcomed with it; nobody else is", async (t) => {
  const probes = new Map<string, FactProbe | null>([
    ["node-1", null],
    ["node-2", probe("teleport")],
  ]);
  const { url, gateway, heard, presence } = await openGateway(t, { returnPatienceMs: 300 }, (host) => {
    const found = probes.get(host);
    if (found === undefined) throw new BelayError("program-invalid", "variables that make no sense");
    return found;
  });
  const late = new Peer(url);
  const other = new Peer(url, TOKEN_2);
  await late.say(hello);
  await other.say({ ...hello, host: "node-2" });
  t.match(await late.hear(), { type: "welcome", probe: null });
  t.match(await other.hear(), { type: "welcome", probe: { service: "teleport" } });

  probes.set("node-2", probe("teleport"));
  await gateway.reprobe();
  t.ok(gateway.send("node-2", { type: "ack", step: "r/s/node-2/0/1" }), "the same again is no news");
  t.match(await other.hear(), { type: "ack" });

  probes.set("node-1", probe("teleport"));
  await gateway.reprobe();
  t.equal(await late.closed, CloseCode.outdated, "declared since it came");
  t.ok(presence.isPresent("node-1"), "a plan that is made meanwhile finds it here");
  const again = new Peer(url);
  await again.say(hello);
  t.match(await again.hear(), { type: "welcome", probe: { service: "teleport" } });

  probes.delete("node-2");
  await gateway.reprobe();
  t.equal(await other.closed, CloseCode.outdated, "what can't be asked any more is asked no more");
  t.ok(gateway.send("node-1", { type: "ack", step: "r/s/node-1/0/1" }), "and one host's trouble is its own");
  const gone = () => heard.filter((line) => line.startsWith("disconnected"));
  t.same(gone(), []);
  await until(async () => gone().length > 0 || "none", "one that does not come again is gone", 10_000);
  t.same(gone(), ["disconnected node-2"]);
  t.ok(presence.isPresent("node-1"));
  again.socket.close();
});

function probe(service: string): FactProbe {
  return { service, versionsDir: "/v", link: "/l", version: [{ kind: "process-exe" }], checks: [], disks: [] };
}
