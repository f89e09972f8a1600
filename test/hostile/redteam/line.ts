import type { Dial, SocketEvents } from "@belay/agent";
import { type AgentMessage, decodeAgentMessage, type Step, type StepOutcome } from "@belay/shared";

const PROTOCOL = 2;

/**
 * The controller's end of an agent's connection, without the network between: what is said here is read by the agent as the
 * bytes of a text frame that came over its TLS connection. The agent dials again whenever it breaks off.
 */
export class RedLine {
  /** Sent in answer to the next hellos, each once; then a plain welcome. */
  readonly greetings: string[] = [];
  /** Steps that were let in, and those that ended, by how. */
  readonly accepted = new Set<string>();
  readonly outcomes = new Map<string, number>();
  connections = 0;
  #events: SocketEvents | null = null;
  #welcomed = false;
  readonly #waiting = new Map<string, (outcome: StepOutcome) => void>();
  #wake: () => void = () => {};

  readonly dial: Dial = (events) => {
    const open = { over: false };
    const end = () => {
      if (open.over) return;
      open.over = true;
      if (this.#events === events) this.#events = null;
      queueMicrotask(() => events.closed({ kind: "closed", code: 1000, reason: "" }));
    };
    queueMicrotask(() => {
      this.connections += 1;
      this.#events = events;
      this.#welcomed = false;
      events.opened(`belay.${PROTOCOL}`);
    });
    return { send: (frame) => this.#heard(events, frame), close: end, terminate: end, backlog: 0 };
  };

  /** Settles when a connection is welcomed. */
  async connected(): Promise<void> {
    while (this.#events === null || !this.#welcomed) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Says one frame, to whoever is connected then. */
  async say(frame: string): Promise<void> {
    await this.connected();
    this.#events?.heard();
    this.#events?.text(frame);
  }

  /** Says a step again until it is answered: the connection may break in between. Every step before it is answered then. */
  async ask(step: Pick<Step, "step" | "op" | "fence">): Promise<StepOutcome> {
    let answered: StepOutcome | null = null;
    const answer = new Promise<StepOutcome>((resolve) => {
      this.#waiting.set(step.step, (outcome) => {
        answered = outcome;
        resolve(outcome);
      });
    });
    while (answered === null) {
      const before = this.connections;
      await this.say(JSON.stringify(step));
      const lost = (async () => {
        while (this.connections === before && answered === null) await new Promise((resolve) => setImmediate(resolve));
      })();
      await Promise.race([answer, lost]);
    }
    return answer;
  }

  #heard(events: SocketEvents, frame: string): void {
    const message: AgentMessage = decodeAgentMessage(frame, PROTOCOL);
    if (message.type === "hello") {
      queueMicrotask(() => {
        if (this.#events !== events) return;
        events.heard();
        this.#welcomed = true;
        events.text(this.greetings.shift() ?? PLAIN);
        this.#wake();
      });
    } else if (message.type === "accepted") this.accepted.add(message.step);
    else if (message.type === "outcome") this.#ended(events, message);
  }

  #ended(events: SocketEvents, message: StepOutcome): void {
    const { step, outcome } = message;
    const code = "error" in outcome ? outcome.error.code : outcome.status;
    this.outcomes.set(code, (this.outcomes.get(code) ?? 0) + 1);
    this.#waiting.get(step)?.(message);
    this.#waiting.delete(step);
    queueMicrotask(() => {
      if (this.#events === events) events.text(JSON.stringify({ type: "ack", step }));
    });
  }
}

const PLAIN = JSON.stringify(welcome(null));

export function welcome(probe: unknown, more: object = {}) {
  return { type: "welcome", protocol: PROTOCOL, pingEveryMs: 60_000, factsEveryMs: 60_000, probe, ...more };
}
