import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { BelayError } from "@belay/shared";

/** The first line of everything that age encrypts. */
const AGE_MAGIC = Buffer.from("age-encryption.org/v1\n");

/** What went through an intake. Complete when its `body` has ended. */
export interface Intake {
  readonly encrypted: boolean;
  readonly body: Readable;
  measured(): { readonly sha256: string; readonly bytes: number };
}

/**
 * Looks at the beginning of a stream and passes all of it on, measured. The body throws `copy-too-large` beyond the limit.
 * Throws `copy-empty` when nothing comes.
 */
export async function takeIn(source: Readable, maxBytes: number): Promise<Intake> {
  const chunks = source.iterator({ destroyOnReturn: false }) as AsyncIterator<Buffer>;
  const beginning: Buffer[] = [];
  let bytes = 0;
  for (let ended = false; !ended && bytes < AGE_MAGIC.length; ) {
    const { value, done } = await chunks.next();
    if (done === true) ended = true;
    else {
      beginning.push(value);
      bytes += value.length;
    }
  }
  if (bytes === 0) {
    throw new BelayError("copy-empty", "a copy of a backup has at least one byte", {
      hint: "Send the archive as it is.",
    });
  }
  const first = Buffer.concat(beginning);
  const hash = createHash("sha256").update(first);
  const refuseTooLarge = () => {
    if (bytes <= maxBytes) return;
    throw new BelayError(
      "copy-too-large",
      `a copy of a backup may have ${maxBytes} bytes here, and this one has more`,
      {
        hint: "Raise backupStore.maxBytes in belayd.yaml if a backup of this size is right.",
      },
    );
  };
  async function* pass(): AsyncGenerator<Buffer> {
    try {
      refuseTooLarge();
      yield first;
      for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) {
        bytes += next.value.length;
        refuseTooLarge();
        hash.update(next.value);
        yield next.value;
      }
    } finally {
      // What still comes is let pass, not cut off: else a sender that is refused would never read why.
      await chunks.return?.();
      source.resume();
    }
  }
  return {
    encrypted: first.subarray(0, AGE_MAGIC.length).equals(AGE_MAGIC),
    body: Readable.from(pass(), { objectMode: false }),
    measured: () => ({ sha256: hash.copy().digest("hex"), bytes }),
  };
}
