import { randomUUID } from "node:crypto";
import { BelayError, type Op, type Outcome, type StepId } from "@belay/shared";
import type { Hosts, Report } from "./ports.js";

/**
 * Single questions to hosts outside any run, such as reading a backup back on request. They change nothing, so nothing
 * of them is durable: who asked waits for the answer or is told that none came.
 */
export class Errands {
  readonly #hosts: Hosts;
  readonly #waiting = new Map<StepId, (outcome: Outcome) => void>();

  readonly #fenceFor: (host: string) => Promise<number>;

  constructor(hosts: Hosts, fenceFor: (host: string) => Promise<number>) {
    this.#hosts = hosts;
    this.#fenceFor = fenceFor;
  }

  /** Throws `host-offline` when the host isn't here, `errand-timeout` when it doesn't answer in time. */
  async ask(host: string, op: Op, timeoutMs: number): Promise<Outcome> {
    const step = `errand/${randomUUID()}/${host}`;
    // Agents refuse what carries an older fence than they have seen (I13), whoever asks; and a newer one than its run's
    // would shut that run out.
    const fence = await this.#fenceFor(host);
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise<Outcome>((resolve, reject) => {
        this.#waiting.set(step, resolve);
        timer = setTimeout(
          () => reject(new BelayError("errand-timeout", `${host} gave no answer within ${timeoutMs / 1000} s`)),
          timeoutMs,
        );
        if (!this.#hosts.send(host, { type: "step", step, fence, check: false, deadlineMs: timeoutMs, op })) {
          reject(new BelayError("host-offline", `${host} has no connection`, { hint: `belay host show ${host}` }));
        }
      });
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(step);
    }
  }

  /** True if the report was an errand's: it is taken, late or not. */
  take(report: Report): boolean {
    if (!report.step.startsWith("errand/")) return false;
    this.#waiting.get(report.step)?.(report.outcome);
    this.#hosts.acknowledge(report.host, report.step);
    return true;
  }
}
