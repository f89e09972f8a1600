import { BelayError, canonicalJson, decoder } from "@belay/shared";
import Type, { type Static } from "typebox";
import { ACTIONS, type Action } from "./action.js";

const closed = { additionalProperties: false } as const;
const Word = Type.String({ maxLength: 512 });

/** Who did it. `how`: what told belayd who it is. */
export const Who = Type.Object({ name: Word, how: Word }, closed);
export type Who = Static<typeof Who>;

/** Small values that were named one by one as fit to be kept: nothing gets in because it happened to be there. */
const Detail = Type.Record(
  Type.String({ maxLength: 64 }),
  Type.Union([
    Type.String({ maxLength: 2_100 }),
    Type.Number(),
    Type.Boolean(),
    Type.Null(),
    Type.Array(Word, { maxItems: 64 }),
  ]),
);
export type Detail = Static<typeof Detail>;

/**
 * One line of the audit log. A command is in it twice: `asked` before anything is done, and `done` or `refused` (`of` names
 * the first) before whoever asked hears of it. What just happened, such as a run's end, is a single `done`.
 */
export const AuditEntry = Type.Object(
  {
    /** Its place in the log, from 0. */
    seq: Type.Integer({ minimum: 0 }),
    /** belayd's clock, milliseconds since the epoch. */
    at: Type.Integer({ minimum: 0 }),
    who: Who,
    /** Null: belayd itself. `door`: the address it came in at. */
    from: Type.Union([Type.Object({ address: Word, door: Word }, closed), Type.Null()]),
    action: Type.Unsafe<Action>(Type.Union(ACTIONS.map((action) => Type.Literal(action)))),
    phase: Type.Union([Type.Literal("asked"), Type.Literal("done"), Type.Literal("refused")]),
    of: Type.Optional(Type.Integer({ minimum: 0 })),
    /** What it was done to: run, plan, gate, host, release ... */
    about: Detail,
    before: Type.Optional(Detail),
    after: Type.Optional(Detail),
    /** The code of the error that it was refused with. */
    error: Type.Optional(Word),
  },
  closed,
);
export type AuditEntry = Static<typeof AuditEntry>;

/** An entry before it has its place and its time. */
export type NewEntry = Omit<AuditEntry, "seq" | "at">;

/** Where entries go. Settles when the entry is on disk: what it tells of may be acknowledged only then. */
export interface AuditSink {
  append(entry: NewEntry): Promise<void>;
}

/** belayd, where it acts by itself. */
export const BELAYD_ITSELF: Who = { name: "belayd", how: "itself" };

/** The layout gives an entry's length two bytes. */
const MAX_ENTRY_BYTES = 65_535;
const decode = decoder(AuditEntry, "entry of the audit log", "entry-malformed");

/** An entry as it is hashed and kept. Throws `entry-malformed`. */
export function writeEntry(entry: AuditEntry): Buffer {
  const bytes = Buffer.from(canonicalJson(decode(entry)));
  if (bytes.length <= MAX_ENTRY_BYTES) return bytes;
  throw new BelayError("entry-malformed", `an entry of ${bytes.length} bytes; ${MAX_ENTRY_BYTES} are the most`);
}

/** Reads what `writeEntry` wrote. Throws `entry-malformed`. */
export function readEntry(bytes: Buffer): AuditEntry {
  try {
    const entry = decode(JSON.parse(bytes.toString("utf8")));
    if (canonicalJson(entry) === bytes.toString("utf8")) return entry;
  } catch (cause) {
    throw new BelayError("entry-malformed", (cause as Error).message, { cause });
  }
  throw new BelayError("entry-malformed", "an entry that is not in its canonical form");
}
