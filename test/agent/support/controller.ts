import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import {
  type AgentMessage,
  decodeAgentMessage,
  type FactProbe,
  type Hello,
  type Op,
  type Outcome,
  PROTOCOL,
  type StepOutcome,
} from "@belay/shared";
import { type WebSocket, WebSocketServer } from "ws";

type Told<K extends AgentMessage["type"]> = Extract<AgentMessage, { type: K }>;
export type Serve = (request: IncomingMessage, response: ServerResponse) => void;

/**
 * A small controller that speaks the real protocol over a real socket, does what a test tells it, and remembers all
 * that it was told. Acks outcomes unless told not to.
 */
export class FakeController {
  readonly told: AgentMessage[] = [];
  readonly authorizations: (string | undefined)[] = [];
  readonly closes: { code: number; reason: string }[] = [];
  /** The version it speaks; a controller of protocol 1 answers as its WebSocket library does, with the first one offered. */
  protocol: number = PROTOCOL.newest;
  /** Answers no dial, until it is open again. */
  closedDoor = false;
  /** Dials that met a closed door. */
  knocks = 0;
  probe: FactProbe | null = null;
  ack = true;
  /** How long a test waits for anything. */
  patienceMs = 30_000;
  pingEveryMs = 1000;
  factsEveryMs = 60_000;
  /** What is said to a hello, instead of a welcome. */
  greeting: ((socket: WebSocket, hello: Hello) => void) | null = null;
  serve: Serve = (_, response) => response.writeHead(404).end();
  socket: WebSocket | null = null;
  fence = 1;
  readonly #http: Server;
  readonly #ws: WebSocketServer;
  readonly #waiting = new Set<() => void>();
  #steps = 0;

  private constructor(http: Server) {
    this.#http = http;
    this.#ws = new WebSocketServer({
      server: http,
      path: "/v1/agent",
      handleProtocols: (offered) => this.#choose(offered),
      verifyClient: (_info, answer) => {
        if (this.closedDoor) this.knocks += 1;
        answer(!this.closedDoor, 503);
        this.#tick();
      },
    });
    this.#ws.on("connection", (socket, request) => this.#connected(socket, request));
    http.on("request", (request, response) => {
      this.authorizations.push(request.headers.authorization);
      this.serve(request, response);
    });
  }

  static async listen(port = 0): Promise<FakeController> {
    const http = createServer();
    http.listen(port, "127.0.0.1");
    await once(http, "listening");
    return new FakeController(http);
  }

  get port(): number {
    return (this.#http.address() as AddressInfo).port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** A new step id. */
  id(): string {
    this.#steps += 1;
    return `run/stage/host/${this.#steps}`;
  }

  /** Sends a step and waits for its outcome. */
  async step(op: Op, options: { step?: string; check?: boolean; deadlineMs?: number } = {}): Promise<Outcome> {
    const step = options.step ?? this.id();
    await this.connected();
    const from = this.told.length;
    this.send(op, { ...options, step });
    return (await this.outcome(step, from)).outcome;
  }

  send(op: Op, options: { step: string; check?: boolean; deadlineMs?: number; fence?: number }): void {
    const { step, check = false, deadlineMs = 60_000, fence = this.fence } = options;
    this.socket?.send(JSON.stringify({ type: "step", step, fence, check, deadlineMs, op }));
  }

  outcome(step: string, from = 0): Promise<StepOutcome> {
    return this.until(() =>
      this.told.slice(from).find((each): each is StepOutcome => each.type === "outcome" && each.step === step),
    );
  }

  all<K extends AgentMessage["type"]>(type: K): Told<K>[] {
    return this.told.filter((each): each is Told<K> => each.type === type);
  }

  connected(): Promise<WebSocket> {
    return this.until(() => (this.socket?.readyState === 1 ? this.socket : undefined));
  }

  /** Resolves when `look` finds something, after any message or change of a connection. */
  until<T>(look: () => T | undefined | false): Promise<T> {
    return new Promise((resolve, reject) => {
      const limit = setTimeout(() => {
        this.#waiting.delete(tick);
        reject(new Error(`the agent never did it; it told: ${JSON.stringify(this.told.slice(-5))}`));
      }, this.patienceMs);
      const tick = () => {
        const found = look();
        if (found === undefined || found === false) return;
        this.#waiting.delete(tick);
        clearTimeout(limit);
        resolve(found);
      };
      this.#waiting.add(tick);
      tick();
    });
  }

  async close(): Promise<void> {
    for (const socket of this.#ws.clients) socket.terminate();
    this.#http.closeAllConnections();
    await new Promise((resolve) => this.#http.close(resolve));
  }

  #connected(socket: WebSocket, request: IncomingMessage): void {
    this.authorizations.push(request.headers.authorization);
    const ping = setInterval(() => socket.ping(), this.pingEveryMs);
    socket.on("close", (code, reason) => {
      clearInterval(ping);
      this.closes.push({ code, reason: reason.toString() });
      this.#tick();
    });
    socket.on("message", (data) => {
      const message = decodeAgentMessage(data.toString(), this.protocol);
      this.told.push(message);
      if (message.type === "hello") this.#greet(socket, message);
      if (message.type === "outcome" && this.ack) socket.send(JSON.stringify({ type: "ack", step: message.step }));
      this.#tick();
    });
  }

  /** With nothing in common an agent is let in at its own version, to be told so, as belayd does. */
  #choose(offered: Set<string>): string {
    const wanted = `belay.${this.protocol}`;
    return offered.has(wanted) ? wanted : ([...offered][0] ?? wanted);
  }

  #greet(socket: WebSocket, hello: Hello): void {
    if (hello.protocol !== this.protocol) {
      const error = { code: "protocol-unsupported", message: `not ${hello.protocol}, but ${this.protocol}` };
      socket.send(JSON.stringify({ type: "refused", error, retry: true }));
      socket.close(4406);
      return;
    }
    if (this.greeting !== null) {
      this.greeting(socket, hello);
      return;
    }
    const { pingEveryMs, factsEveryMs, probe } = this;
    socket.send(JSON.stringify({ type: "welcome", protocol: hello.protocol, pingEveryMs, factsEveryMs, probe }));
    this.socket = socket;
  }

  #tick(): void {
    for (const tick of [...this.#waiting]) tick();
  }
}
