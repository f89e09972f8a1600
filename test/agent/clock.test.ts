import { type Clock, listen, systemClock } from "@belay/agent";
import t from "tap";

/** Time that passes when it is told to. */
class Hands implements Pick<Clock, "ticks" | "timer"> {
  at = 0;
  readonly #due = new Map<() => void, number>();

  ticks = () => this.at;

  timer(ms: number, fire: () => void): () => void {
    const once = () => {
      this.#due.delete(once);
      fire();
    };
    this.#due.set(once, this.at + ms);
    return () => this.#due.delete(once);
  }

  get waiting(): number {
    return this.#due.size;
  }

  go(ms: number): void {
    for (let left = ms; left > 0; left -= 1) {
      this.at += 1;
      for (const [fire, at] of [...this.#due]) if (at <= this.at) fire();
    }
  }
}

function listening() {
  const hands = new Hands();
  const silences: number[] = [];
  const clock: Clock = { ...systemClock, ticks: hands.ticks, timer: (ms, fire) => hands.timer(ms, fire) };
  return { hands, silences, listening: listen(clock, 100, () => silences.push(hands.at)) };
}

t.test("silence is told of once, when nothing was heard for so long", async (t) => {
  const { hands, silences, listening: ear } = listening();
  hands.go(90);
  ear.heard();
  hands.go(99);
  t.same(silences, [], "counted from what was heard last");
  hands.go(500);
  t.same(silences, [190]);
  t.equal(hands.waiting, 0);
});

t.test("whoever is busy misses nothing, and whoever has ended hears nothing", async (t) => {
  const { hands, silences, listening: ear } = listening();
  ear.busy();
  hands.go(1_000);
  t.same(silences, [], "a slow disk is no silent network");
  ear.heard();
  hands.go(50);
  ear.end();
  t.equal(hands.waiting, 0, "no timer stays");
  hands.go(1_000);
  t.same(silences, []);
});
