import type { IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import type { Dial, Http } from "@belay/agent";
import { decodeAgentMessage, type Op, type Outcome, PROTOCOL } from "@belay/shared";
import type { Release } from "./releases.js";
import type { RigService } from "./service.js";

/** A step that was sent, until its outcome is heard. */
export interface OpenStep {
  step: string;
  op: Op;
  accepted: boolean;
  heard: (outcome: Outcome) => void;
}

/** Belayd as one agent hears it, in memory: it is another machine, and keeps what it heard when this one loses power. */
export class RigBelayd {
  open: OpenStep | null = null;
  /** Nobody hears what a machine without power has to say. */
  deaf = true;
  #send: ((frame: object) => void) | null = null;
  #steps = 0;

  /**
   * Sends a step, again after every power cut, until its outcome is heard. `judge` is called at that very moment, with the
   * power still on.
   */
  carryOut<T>(op: Op, judge: (outcome: Outcome) => T): Promise<T> {
    this.#steps += 1;
    const step = `run/stage/host/${this.#steps}`;
    return new Promise((resolve) => {
      this.open = { step, op, accepted: false, heard: (outcome) => resolve(judge(outcome)) };
      this.#sendOpen();
    });
  }

  readonly dial: Dial = (events) => {
    let over = false;
    const end = () => {
      if (over) return;
      over = true;
      setImmediate(() => events.closed({ kind: "closed", code: 1000, reason: "" }));
    };
    const say = (frame: object) => setImmediate(() => over || events.text(JSON.stringify(frame)));
    setImmediate(() => over || events.opened(`belay.${PROTOCOL.newest}`));
    return {
      send: (frame) => {
        if (!this.deaf) this.#heard(frame, say);
      },
      close: end,
      terminate: end,
      backlog: 0,
    };
  };

  #heard(frame: string, say: (frame: object) => void): void {
    const message = decodeAgentMessage(frame);
    if (message.type === "hello") {
      say({ type: "welcome", protocol: message.protocol, pingEveryMs: 1e6, factsEveryMs: 1e6, probe: null });
      this.#send = say;
      this.#sendOpen();
    }
    const { open } = this;
    if (message.type === "accepted" && message.step === open?.step) open.accepted = true;
    if (message.type !== "outcome") return;
    say({ type: "ack", step: message.step });
    if (message.step !== open?.step) return;
    this.open = null;
    open.heard(message.outcome);
  }

  #sendOpen(): void {
    if (this.open === null || this.deaf) return;
    const { step, op } = this.open;
    this.#send?.({ type: "step", step, fence: 1, check: false, deadlineMs: 60_000, op });
  }
}

/** Artifacts from belayd, in small pieces, and the answers of this host's service. */
export function rigHttp(releases: readonly Release[], service: RigService): Http {
  return {
    async open(url, { headers }) {
      const release = releases.find(({ sha256 }) => url.endsWith(sha256));
      if (release === undefined) throw new Error(`nobody serves ${url}`);
      const from = Number(/\d+/.exec(headers?.range ?? "")?.[0] ?? 0);
      const size = release.tarball.length;
      const pieces: Buffer[] = [];
      for (let at = from; at < size; at += 16_384) pieces.push(release.tarball.subarray(at, at + 16_384));
      const answer = Readable.from(pieces) as unknown as IncomingMessage;
      answer.statusCode = from > 0 ? 206 : 200;
      answer.headers = from > 0 ? { "content-range": `bytes ${from}-${size - 1}/${size}` } : {};
      return answer;
    },
    async text(url) {
      if (url.endsWith("/readyz")) return { status: service.healthy ? 200 : 503, text: "" };
      return { status: 200, text: `build_info{version="${service.running}"} 1\n` };
    },
  };
}
