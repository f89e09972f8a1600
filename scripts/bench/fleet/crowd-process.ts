import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import {
  type Agent,
  byToken,
  type Controller,
  type Exec,
  HostIdentity,
  type Http,
  openJournalDisk,
  silentLogger,
  startAgent,
  systemClock,
  webSocketDial,
} from "@belay/agent";
import { BelayError, decodeControllerMessage, errorInfo } from "@belay/shared";
import type { KnownHost } from "./known-hosts.js";
import { Line } from "./line.js";
import type { Answer, Brace, ComeBack, Order, Start } from "./talk.js";

/**
 * A process full of agents. Each is a whole one: its own connection, its own journal, the product's code from the socket
 * to the fsync. Only the host around it is made up: a systemd where nothing runs, and no network but the way to belayd.
 */

/** Dials at once: what waits for its welcome has a limit at belayd, as it should. */
const TOGETHER = 50;

async function startsNothing(): Promise<never> {
  throw new BelayError("command-not-started", "these hosts start nothing");
}

const nothingRuns: Exec = {
  run: async () => ({
    code: 0,
    signal: null,
    stdout: "LoadState=loaded\nActiveState=inactive\nMainPID=0\nNRestarts=0\n",
    stderr: "",
  }),
  async *filter() {
    yield await startsNothing();
  },
  launch: startsNothing,
};
const unreachable = async () => {
  throw new BelayError("http-unreachable", "there is nobody");
};
const nobodyAnswers: Http = { open: unreachable, text: unreachable };

const agents: Agent[] = [];
const lines: Line[] = [];
let waits = true;
let failures: Record<string, number> = {};
/** Agents that have not come back since `brace`. */
let away = 0;
let allBack = () => {};
let acks: [string, number][] = [];
let gathering: { acks: number } | null = null;

async function start({ controller, dir, hosts }: Start): Promise<void> {
  for (let first = 0; first < hosts.length; first += TOGETHER) {
    const group = hosts.slice(first, first + TOGETHER);
    agents.push(...(await Promise.all(group.map((host) => startOne(controller, dir, host)))));
    // Their parent has a time for all of this, and ends this process when it is over.
    while (lines.some((line) => line.returned.toldAt === null)) await systemClock.sleep(5);
  }
}

async function startOne(base: string, dir: string, known: KnownHost): Promise<Agent> {
  const { host } = known;
  const stateDir = join(dir, host);
  const tokenFile = join(stateDir, "token");
  await mkdir(stateDir, { recursive: true });
  const { controller, identity } = await introduce(base, stateDir, tokenFile, known);
  const line = new Line({ heard: hear, failed });
  lines.push(line);
  return startAgent({
    leave: () => {},
    config: {
      file: join(stateDir, "agent.yaml"),
      self: null,
      auditKey: null,
      approve: { by: "controller" },
      limits: { versions: null, agentVersions: null, hours: null, ops: null, artifacts: null },
      controller: base,
      host,
      tokenFile,
      stateDir,
      services: new Map([["teleport", { manager: "systemd", unit: "teleport.service" }]]),
      directories: [dir],
      commands: new Map(),
      backends: new Map(),
      identityFile: null,
      hooksDir: "/etc/belay/hooks.d",
    },
    controller,
    ...(identity === null ? {} : { identity }),
    clock: systemClock,
    // Where the jitter draws 0, there is no back-off.
    random: () => (waits ? Math.random() : 0),
    dial: line.overhear(webSocketDial(controller)),
    http: nobodyAnswers,
    exec: nothingRuns,
    log: line.log,
    machine: { os: "linux", arch: "x64" },
    journalDisk: await openJournalDisk(join(stateDir, "journal")),
    env: {},
  });
}

/** Who the host is to belayd: by its token, or by the identity that lies in its folder, as on a host that has joined. */
async function introduce(
  base: string,
  stateDir: string,
  tokenFile: string,
  { host, token }: KnownHost,
): Promise<{ controller: Controller; identity: HostIdentity | null }> {
  if (token !== null) return { controller: byToken(base, token), identity: null };
  const identity = await HostIdentity.open({
    base,
    host,
    stateDir,
    tokenFile,
    clock: systemClock,
    random: Math.random,
    log: silentLogger,
  });
  return { controller: identity, identity };
}

function hear(frame: string): void {
  if (frame.includes('"type":"step"')) return;
  const message = decodeControllerMessage(frame);
  if (message.type !== "ack") return;
  acks.push([message.step, Date.now()]);
  answerIfGathered();
}

function failed(why: string): void {
  failures[why] = (failures[why] ?? 0) + 1;
}

function brace({ backoff }: Brace): void {
  waits = backoff;
  failures = {};
  away = lines.length;
  const back = () => {
    away -= 1;
    if (away === 0) allBack();
  };
  for (const line of lines) line.brace(back);
  answer({ type: "braced" });
}

async function comeBack({ cut, withinMs }: ComeBack): Promise<void> {
  const returned = new Promise<void>((resolve) => {
    allBack = resolve;
  });
  const timeout = new AbortController();
  if (cut) for (const line of lines) line.cut();
  if (away > 0) {
    const over = systemClock.sleep(withinMs, timeout.signal).catch(() => {});
    await Promise.race([returned, over]);
    timeout.abort();
  }
  answer({ type: "returned", returns: lines.map((line) => line.returned), failures });
}

function answerIfGathered(): void {
  if (gathering === null || acks.length < gathering.acks) return;
  answer({ type: "gathered", acks });
  acks = [];
  gathering = null;
}

function answer(message: Answer): void {
  process.send?.(message);
}

process.on("message", (order: Order) => {
  carryOut(order).catch((error: unknown) => answer({ type: "failed", message: errorInfo(error).message }));
});

async function carryOut(order: Order): Promise<void> {
  switch (order.type) {
    case "start":
      await start(order);
      answer({ type: "started" });
      return;
    case "gather":
      gathering = order;
      answerIfGathered();
      return;
    case "brace":
      brace(order);
      return;
    case "come-back":
      await comeBack(order);
  }
}

// Also when the bench itself is gone.
process.on("disconnect", () => {
  Promise.all(agents.map((agent) => agent.stop())).then(
    () => process.exit(0),
    () => process.exit(1),
  );
});
