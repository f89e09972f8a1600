import { errorInfo, type SignedStatement } from "@belay/shared";
import type { GateView, RunView } from "../../api/contract.js";
import type { Api } from "../api.js";
import { failureLines } from "../failure.js";
import { gateLines } from "../render/gate.js";
import type { Session } from "../session.js";
import { DEFAULT_EXPIRES, signGate } from "../signing/sign-gate.js";
import { type Display, pageOf } from "./display.js";
import { needsPeople } from "./verdict.js";

const CHOICES = {
  gate: { question: "[a]pprove, [r]eject or [w]ait? ", words: { a: "approve", r: "reject", w: "wait" } },
  failure: {
    question: "[r]etry, [s]kip, [a]bort or [w]ait? ",
    words: { r: "retry", s: "skip", a: "abort", w: "wait" },
  },
} as const;
type Choice = "approve" | "reject" | "retry" | "skip" | "abort" | "wait";

/** Asks the person at the terminal about each gate as it opens, once, and passes the answer on in their name. */
export class GatePrompt {
  readonly #session: Session;
  readonly #api: Api;
  readonly #asked = new Set<string>();
  #latest: RunView | null = null;
  #open: { readonly gate: string; readonly settled: Promise<void>; readonly withdraw: AbortController } | null = null;

  constructor(session: Session, api: Api) {
    this.#session = session;
    this.#api = api;
  }

  get asking(): boolean {
    return this.#open !== null;
  }

  /** Withdraws the question when somebody else has answered the gate meanwhile. */
  look(view: RunView): void {
    this.#latest = view;
    if (this.#open === null) return;
    if (!needsPeople(view.gate) || view.gate.gate !== this.#open.gate) this.#open.withdraw.abort();
  }

  /** Asks, if there is a gate that this person was not asked about yet. Returns at once. */
  consider(view: RunView, display: Display, signal: AbortSignal): void {
    const { gate } = view;
    if (this.#open !== null || !needsPeople(gate) || this.#asked.has(gate.gate)) return;
    this.#asked.add(gate.gate);
    display.pause();
    this.#session.print(["", ...gateLines(gate, pageOf(this.#session)), ""]);
    const withdraw = new AbortController();
    const settled = this.#ask(gate, AbortSignal.any([signal, withdraw.signal])).then((wasSent) => {
      this.#open = null;
      const latest = this.#latest ?? view;
      // After an answer the old view, with its open gate, would only flash by: the next one is on its way.
      if (!signal.aborted && !(wasSent && latest === view)) display.view(latest);
    });
    this.#open = { gate: gate.gate, settled, withdraw };
  }

  /** Resolves when no question is open any more. */
  async settled(): Promise<void> {
    await this.#open?.settled;
  }

  /** True when an answer reached belayd. */
  async #ask(gate: GateView, signal: AbortSignal): Promise<boolean> {
    const { outside } = this.#session;
    const choice = await this.#choose(gate.kind === "failure" ? CHOICES.failure : CHOICES.gate, signal);
    if (choice === null || choice === "wait") return false;
    const reason = await outside.ask("reason: ", signal);
    if (reason === null) return false;
    try {
      await this.#send(gate, choice, reason.trim());
      return true;
    } catch (error) {
      this.#session.print(failureLines(errorInfo(error)));
      return false;
    }
  }

  async #choose(
    { question, words }: { readonly question: string; readonly words: Readonly<Record<string, Choice>> },
    signal: AbortSignal,
  ): Promise<Choice | null> {
    for (;;) {
      const answer = await this.#session.outside.ask(question, signal);
      if (answer === null) return null;
      const word = answer.trim().toLowerCase();
      const choice = words[word] ?? Object.values(words).find((known) => known === word);
      if (choice !== undefined) return choice;
    }
  }

  async #sign(gate: GateView): Promise<{ signed: SignedStatement } | null> {
    const options = { key: undefined, expires: DEFAULT_EXPIRES, allHosts: false, yes: false };
    const signed = await signGate(this.#session, this.#api, gate, options);
    return signed === null ? null : { signed };
  }

  async #send(gate: GateView, choice: Exclude<Choice, "wait">, reason: string): Promise<void> {
    const command = { reason };
    switch (choice) {
      case "approve": {
        const signed = gate.mustSign ? await this.#sign(gate) : undefined;
        if (signed !== null) await this.#api.decideGate(gate.run, gate.gate, choice, { ...command, ...signed });
        return;
      }
      case "reject":
        await this.#api.decideGate(gate.run, gate.gate, choice, command);
        return;
      case "retry":
      case "skip":
        await this.#api.answerFailure(gate.run, choice, command);
        return;
      case "abort":
        await this.#api.steer(gate.run, choice, command);
        return;
    }
  }
}
