import { type Dial, type Logger, type Socket, type SocketEvents, silentLogger } from "@belay/agent";
import type { Return } from "./talk.js";

type SocketEnd = Parameters<SocketEvents["closed"]>[0];

/** One agent's connections, overheard: nothing of what it says or hears is changed. */
export class Line {
  readonly #heard: (frame: string) => void;
  readonly #failed: (why: string) => void;
  #socket: Socket | null = null;
  #isWelcome = false;
  #back: () => void = () => {};
  #return: Return = { welcomedAt: null, toldAt: null, dials: 0, backoffMs: 0 };

  /** `failed` hears why a dial came to nothing. */
  constructor(ears: { heard: (frame: string) => void; failed: (why: string) => void }) {
    this.#heard = ears.heard;
    this.#failed = ears.failed;
  }

  /** How the agent has come, or come back since `brace`. */
  get returned(): Return {
    return this.#return;
  }

  /** Forgets what was; `back` is called once it has been welcomed anew, and has told what is on its host. */
  brace(back: () => void): void {
    this.#return = { welcomedAt: null, toldAt: null, dials: 0, backoffMs: 0 };
    this.#back = back;
  }

  /** As when a network fails: no goodbye. */
  cut(): void {
    this.#socket?.terminate();
  }

  /** For the agent to log to: goes nowhere, but for the back-off that is in it. */
  get log(): Logger {
    const hear = (more: object) => this.#logs(more);
    return { ...silentLogger, warn: hear, error: hear };
  }

  /** The agent's own dial. */
  overhear(dial: Dial): Dial {
    return (events) => {
      this.#dials();
      const socket = dial({
        ...events,
        text: (frame) => {
          this.#hears(frame);
          events.text(frame);
        },
        closed: (how) => {
          this.#ends(how);
          events.closed(how);
        },
      });
      this.#socket = socket;
      return {
        send: (frame) => {
          this.#says(frame);
          socket.send(frame);
        },
        close: (code, reason) => socket.close(code, reason),
        terminate: () => socket.terminate(),
        get backlog() {
          return socket.backlog;
        },
      };
    };
  }

  #dials(): void {
    this.#return = { ...this.#return, dials: this.#return.dials + 1 };
  }

  /** The agent says itself how long it will wait, whenever it loses a connection or gets none. */
  #logs(more: object): void {
    if (!("waitMs" in more) || typeof more.waitMs !== "number") return;
    this.#return = { ...this.#return, backoffMs: this.#return.backoffMs + more.waitMs };
  }

  #hears(frame: string): void {
    if (!this.#isWelcome && frame.includes('"type":"welcome"')) {
      this.#isWelcome = true;
      this.#return = { ...this.#return, welcomedAt: Date.now() };
    }
    this.#heard(frame);
  }

  #says(frame: string): void {
    // Facts on the connection that stood before say nothing of this return.
    const { welcomedAt, toldAt } = this.#return;
    if (welcomedAt === null || toldAt !== null || !frame.includes('"type":"facts"')) return;
    this.#return = { ...this.#return, toldAt: Date.now() };
    this.#back();
  }

  #ends(how: SocketEnd): void {
    if (!this.#isWelcome) this.#failed(whyOf(how));
    this.#isWelcome = false;
  }
}

function whyOf(how: SocketEnd): string {
  switch (how.kind) {
    case "denied":
      return `answer ${how.status}`;
    case "failed":
      return (how.error as NodeJS.ErrnoException).code ?? how.error.message;
    case "closed":
      return `closed with ${how.code}`;
  }
}
