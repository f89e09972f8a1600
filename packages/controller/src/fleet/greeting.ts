import {
  type AgentMessage,
  BelayError,
  CloseCode,
  chooseProtocol,
  decodeAgentMessage,
  type Hello,
  PROTOCOL,
  protocolNamed,
} from "@belay/shared";
import type { RawData, WebSocket } from "ws";

/** The greeters' view of what was known of those who may connect. */
export interface Registry {
  /** The id of the journal that the host had last; null: none is known. */
  journalOf(host: string): Promise<string | null>;
  saveJournal(host: string, journal: string, at: number): Promise<void>;
}

/** An agent that has said who it is, and may be welcomed. */
export interface Greeted {
  readonly hello: Hello;
  /** The version of the protocol that both speak. */
  readonly protocol: number;
  /** The journal that the host had before; null: none is known. */
  readonly journal: string | null;
}

/**
 * The first half of a connection: somebody with a host's identity, who has not said hello yet. Until then it is nobody's,
 * and its only right is to wait, for so long and no longer.
 */
export class Greetings {
  readonly #registry: Pick<Registry, "journalOf">;
  readonly #timeoutMs: number;
  readonly #pending = new Set<WebSocket>();
  readonly #ofHost = new Map<string, number>();

  constructor(registry: Pick<Registry, "journalOf">, timeoutMs: number) {
    this.#registry = registry;
    this.#timeoutMs = timeoutMs;
  }

  /** Connections that have not said hello yet. */
  get pending(): number {
    return this.#pending.size;
  }

  pendingOf(host: string): number {
    return this.#ofHost.get(host) ?? 0;
  }

  /** Ends them all. */
  close(): void {
    for (const socket of this.#pending) socket.terminate();
  }

  /**
   * Waits for hello. Null: the connection is gone. Else the socket is paused, so that nothing of it is lost until somebody
   * serves it. `identify` says whose it is, again. Throws why this agent must be refused.
   */
  async hear(host: string, socket: WebSocket, identify: () => Promise<string | null>): Promise<Greeted | null> {
    this.#count(host, 1);
    const first = await this.#firstWord(socket).finally(() => this.#count(host, -1));
    if (first === null) return null;
    const protocol = protocolNamed(socket.protocol) ?? 0;
    const hello = mustBeHello(read(first.data, first.isBinary, spoken(protocol)), host, protocol);
    const journal = await this.#registry.journalOf(host);
    // The identity may have been revoked while this connection waited to be greeted.
    if ((await identify()) !== host)
      throw new BelayError("identity-ended", `the identity of ${host} is not valid any more`);
    return socket.readyState === socket.OPEN ? { hello, protocol, journal } : null;
  }

  #count(host: string, change: 1 | -1): void {
    const count = this.pendingOf(host) + change;
    if (count === 0) this.#ofHost.delete(host);
    else this.#ofHost.set(host, count);
  }

  /** The timer dies with this phase. */
  #firstWord(socket: WebSocket): Promise<{ data: RawData; isBinary: boolean } | null> {
    this.#pending.add(socket);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        socket.close(CloseCode.helloTimeout, "no hello");
        reject(new BelayError("hello-timeout", `no hello within ${this.#timeoutMs} ms`));
      }, this.#timeoutMs);
      const settle = (first: { data: RawData; isBinary: boolean } | null) => {
        clearTimeout(timer);
        this.#pending.delete(socket);
        resolve(first);
      };
      socket.once("close", () => settle(null));
      socket.once("message", (data, isBinary) => {
        socket.pause();
        settle({ data, isBinary });
      });
    });
  }
}

/**
 * Which of the offered subprotocols it will be. With none in common the agent is let in at its own, to be told so in words
 * that every version has.
 */
export function answerOffer(offered: Set<string>): string | false {
  const protocol = chooseProtocol(offered);
  if (protocol !== null) return `belay.${protocol}`;
  return offered.values().next().value ?? false;
}

/** Hello has the same shape in every version, so one we don't speak can still be read, and refused by name. */
function spoken(protocol: number): number {
  return Math.min(Math.max(protocol, PROTOCOL.oldest), PROTOCOL.newest);
}

function mustBeHello(message: AgentMessage, host: string, protocol: number): Hello {
  if (message.type !== "hello")
    throw new BelayError("hello-missing", `the first message is ${message.type}, not hello`);
  if (message.host !== host) {
    throw new BelayError("host-mismatch", `this identity belongs to ${host}, not to ${message.host}`, {
      hint: "Each host joins with a token of its own: belay agent token create --host NAME",
    });
  }
  if (message.protocol === protocol && protocol >= PROTOCOL.oldest && protocol <= PROTOCOL.newest) return message;
  throw new BelayError(
    "protocol-unsupported",
    `the agent speaks protocol ${message.protocol}, belayd ${PROTOCOL.oldest} to ${PROTOCOL.newest}`,
    { hint: "Upgrade the older of the two." },
  );
}

/** Decodes one frame from an agent. Throws `message-malformed` or `message-too-large`. */
export function read(data: RawData, isBinary: boolean, protocol: number): AgentMessage {
  if (isBinary) throw new BelayError("message-malformed", "a binary frame; messages are text");
  return decodeAgentMessage(data.toString(), protocol);
}
