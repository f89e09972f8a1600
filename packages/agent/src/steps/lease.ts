import { BelayError, MAX_FENCE, type Step } from "@belay/shared";

/** Under which lease a step was sent: its number, and which database gave it out, where that is said. */
type Sent = Pick<Step, "fence" | "line">;

/** Who leads here: the lease of the last step that this host took (I13). */
export class Lease {
  #fence: number;
  #line: string | null;

  constructor({ fence, line }: { fence: number; line: string | null }) {
    this.#fence = fence;
    this.#line = line;
  }

  /** Why a step sent like this is refused: `fenced`. Null: its sender may lead. */
  refusal(sent: Sent): BelayError | null {
    const isLost = sent.fence < this.#fence || this.#isAnothers(sent);
    // Beyond what is ever given out, and what hello could say: this host could not come back.
    const isBeyond = sent.fence > MAX_FENCE;
    return isLost || isBeyond ? fenced(sent.fence, this.#fence) : null;
  }

  /** Whoever sent this leads from now on. Gives what the journal is to hold of it. */
  follow({ fence, line }: Sent): Sent {
    if (fence > this.#fence) this.#line = null;
    this.#fence = fence;
    this.#line = line ?? this.#line;
    return { fence, ...(this.#line === null ? {} : { line: this.#line }) };
  }

  /** Two databases that grew apart give out the same numbers: the first of them to be seen here holds this one. */
  #isAnothers({ fence, line }: Sent): boolean {
    return fence === this.#fence && line !== undefined && this.#line !== null && line !== this.#line;
  }
}

function fenced(fence: number, seen: number): BelayError {
  return new BelayError("fenced", `step sent under lease ${fence}, but lease ${seen} holds now`, {
    hint: "another belayd leads here, or this one's database is an old copy: belayd's log says which",
    context: { fence, seen },
  });
}
