import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HostIdentity, type SocketEvents, silentLogger, systemClock, webSocketDial } from "@belay/agent";
import type { IdentityEvent } from "@belay/controller/identity/event";
import {
  type AgentMessage,
  type ControllerMessage,
  decodeControllerMessage,
  encode,
  type Hello,
  PROTOCOL,
} from "@belay/shared";
import { pino } from "pino";
import type { Test } from "tap";
import { HttpScene } from "../http/scene.js";

/** A belayd with a door over TLS, whose clock a test can move, and what it told of identities. */
export class IdentityScene {
  readonly http: HttpScene;
  readonly events: IdentityEvent[];
  readonly #clock: { offsetMs: number };
  readonly #t: Test;

  private constructor(t: Test, http: HttpScene, events: IdentityEvent[], clock: { offsetMs: number }) {
    this.#t = t;
    this.http = http;
    this.events = events;
    this.#clock = clock;
  }

  /** `port`: of the door; a belayd that is started again must be where it was. */
  static async open(t: Test, more = "", port = 0): Promise<IdentityScene> {
    const events: IdentityEvent[] = [];
    const clock = { offsetMs: 0 };
    const log = pino({ level: "info" }, { write: (line) => void note(line, events) });
    const door = `tls: { listen: "127.0.0.1:${port}" }\n`;
    const http = await HttpScene.open(t, door + more, { log, now: () => Date.now() + clock.offsetMs });
    return new IdentityScene(t, http, events, clock);
  }

  /** Where agents come in. */
  get base(): string {
    const { tlsAddress } = this.http.daemon;
    if (tlsAddress === null) throw new Error("no door was opened");
    return tlsAddress;
  }

  get authorityDir(): string {
    return join(this.http.dir, "data", "ca");
  }

  /** belayd's clock goes on from there. */
  moveClock(ms: number): void {
    this.#clock.offsetMs += ms;
  }

  now(): number {
    return Date.now() + this.#clock.offsetMs;
  }

  async token(host: string, ttlSeconds = 3600): Promise<string> {
    const made = await this.http.call("POST", "/v1/agents/tokens", { body: { host, ttlSeconds } });
    if (made.status !== 200) throw new Error(JSON.stringify(made.body));
    return made.body.token as string;
  }

  /** A host in a folder of its own, with this token in its file; it has not joined yet. */
  async host(name: string, token: string, options: { base?: string; lookMs?: number } = {}): Promise<HostAtDoor> {
    const dir = await mkdtemp(join(tmpdir(), "belay-identity-"));
    this.#t.teardown(() => rm(dir, { recursive: true }));
    await writeFile(join(dir, "token"), `${token}\n`);
    const identity = await HostIdentity.open(this.#optionsOf(name, dir, options));
    this.#t.teardown(() => identity.halt());
    return new HostAtDoor(name, dir, identity);
  }

  #optionsOf(name: string, dir: string, { base = this.base, lookMs }: { base?: string; lookMs?: number }) {
    return {
      base,
      host: name,
      stateDir: dir,
      tokenFile: join(dir, "token"),
      clock: systemClock,
      random: () => 0.5,
      log: silentLogger,
      ...(lookMs === undefined ? {} : { lookMs }),
    };
  }

  /** The same host, started again: with what it has on its disk, and where belayd is now. */
  async again(
    { name, dir }: Pick<HostAtDoor, "name" | "dir">,
    options: { base?: string; lookMs?: number } = {},
  ): Promise<HostAtDoor> {
    const identity = await HostIdentity.open(this.#optionsOf(name, dir, options));
    this.#t.teardown(() => identity.halt());
    return new HostAtDoor(name, dir, identity);
  }

  async joined(name: string): Promise<HostAtDoor> {
    const host = await this.host(name, await this.token(name));
    await host.identity.join();
    return host;
  }

  told<T extends IdentityEvent["type"]>(type: T): Extract<IdentityEvent, { type: T }>[] {
    return this.events.filter((event): event is Extract<IdentityEvent, { type: T }> => event.type === type);
  }

  /** A command of a person's. */
  say(path: string, body: Record<string, unknown> = {}) {
    return this.http.call("POST", path, { body: { reason: "test", ...body } });
  }
}

function note(line: string, events: IdentityEvent[]): void {
  const { event } = JSON.parse(line) as { event?: IdentityEvent };
  if (event !== undefined) events.push(event);
}

/** What a host of these tests has, and how it dials. */
export class HostAtDoor {
  readonly name: string;
  readonly dir: string;
  readonly identity: HostIdentity;

  constructor(name: string, dir: string, identity: HostIdentity) {
    this.name = name;
    this.dir = dir;
    this.identity = identity;
  }

  dial(): Promise<Line> {
    return Line.open(this.identity, this.name);
  }

  /** How one dial ends: `welcome`, `denied 401`, or what went wrong. */
  async knock(): Promise<string> {
    const line = await this.dial();
    line.end();
    return line.outcome;
  }
}

/** One connection to belayd, up to its welcome and beyond. */
export class Line {
  /** `welcome`, or why not. */
  readonly outcome: string;
  /** How it ended, once it has. */
  readonly closed: Promise<string>;
  readonly messages: ControllerMessage[];
  readonly #send: (message: AgentMessage) => void;
  readonly end: () => void;

  private constructor(parts: {
    outcome: string;
    closed: Promise<string>;
    messages: ControllerMessage[];
    send: (message: AgentMessage) => void;
    end: () => void;
  }) {
    this.outcome = parts.outcome;
    this.closed = parts.closed;
    this.messages = parts.messages;
    this.#send = parts.send;
    this.end = parts.end;
  }

  static open(controller: Parameters<typeof webSocketDial>[0], host: string): Promise<Line> {
    const messages: ControllerMessage[] = [];
    return new Promise((resolve) => {
      let ended: (how: string) => void = () => {};
      const closed = new Promise<string>((settle) => {
        ended = settle;
      });
      const socket = webSocketDial(controller)({
        opened: () => socket.send(encode(helloOf(host))),
        text: (frame) => {
          messages.push(decodeControllerMessage(frame));
          if (messages.length === 1) resolve(lineOf(messages[0]?.type ?? "nothing"));
        },
        heard: () => {},
        closed: (end) => {
          ended(endOf(end));
          resolve(lineOf(endOf(end)));
        },
      });
      const lineOf = (outcome: string) =>
        new Line({
          outcome,
          closed,
          messages,
          send: (message) => socket.send(encode(message)),
          end: () => socket.terminate(),
        });
    });
  }

  send(message: AgentMessage): void {
    this.#send(message);
  }

  /** As an agent does with what it hears of authorities. Gives how many of them it has kept. */
  async keepTrust({ identity }: HostAtDoor): Promise<number> {
    const heard = this.messages.filter((message) => message.type === "authorities");
    const last = heard.at(-1);
    if (last === undefined) throw new Error("nothing was said of authorities");
    const authorities = await identity.trust(last);
    this.#send({ type: "trusts", authorities });
    return heard.length;
  }
}

function helloOf(host: string): Hello {
  return {
    type: "hello",
    protocol: PROTOCOL.newest,
    host,
    agentVersion: "0.1.0",
    journal: "0123456789abcdef",
    open: [],
  };
}

function endOf(end: Parameters<SocketEvents["closed"]>[0]): string {
  switch (end.kind) {
    case "failed":
      return end.error.message;
    case "denied":
      return `denied ${end.status}`;
    case "closed":
      return `closed ${end.code} ${end.reason}`;
  }
}
