import { type BackupCopySpec, type BackupResult, BelayError } from "@belay/shared";
import type { Host } from "../../host.js";
import type { Attempt } from "../../ops/op.js";
import type { ReadBackup } from "../manifest.js";
import { encrypted } from "./age.js";
import { packBackup, Tally } from "./archive.js";
import { getCopy, putCopy } from "./belayd.js";

type SentCopy = NonNullable<BackupResult["copies"]>[number];

/**
 * Sends a verified backup away as one stream, made while it is sent and never on this disk, and reads it back from where
 * it is kept: a copy counts when its bytes have come back (I4). Repeated, it is sent anew. The backup itself is only read.
 * Throws `copy-damaged` if other bytes arrived, or came back.
 */
export async function sendCopy(
  backup: ReadBackup,
  spec: BackupCopySpec,
  host: Host,
  attempt: Pick<Attempt, "signal" | "progress">,
): Promise<SentCopy> {
  const { id } = backup.manifest;
  const { signal } = attempt;
  const packed = packBackup(backup.dir, backup.manifest);
  const stream = spec.recipients.length === 0 ? packed : encrypted(packed, spec.recipients, host, signal);
  const sent = new Tally();
  const tell = (note: string) => (bytes: number) =>
    attempt.progress(note, { done: bytes, total: Math.max(bytes, sent.bytes), unit: "bytes" });
  const kept = await putCopy(id, sent.through(stream, tell("sending a copy")), host, signal);
  const sha256 = sent.sha256();
  if (kept.sha256 !== sha256 || kept.bytes !== sent.bytes)
    throw damaged(id, "arrived at belayd", sent.bytes, kept.bytes);

  const back = new Tally();
  for await (const _chunk of back.through(getCopy(id, sha256, host, signal), tell("reading the copy back"))) {
    // Only its digest matters: what is in it was verified before it was sent.
  }
  if (back.bytes !== sent.bytes || back.sha256() !== sha256) throw damaged(id, "came back", sent.bytes, back.bytes);
  return { to: spec.to, sha256, bytes: sent.bytes, encrypted: spec.recipients.length > 0 };
}

function damaged(id: string, how: string, sent: number, found: number): BelayError {
  return new BelayError("copy-damaged", `the copy of ${id} ${how} otherwise than it was sent`, {
    hint: "the local backup stays; the copy is sent again. If that doesn't help, look at belayd's store",
    context: { sent, found },
  });
}
