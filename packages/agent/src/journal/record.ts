import { crc32 } from "node:zlib";
import { BelayError, type Op, type Outcome, type StepProof } from "@belay/shared";

/**
 * What a journal remembers. One record a line:
 *
 *     <crc32 of the rest, 8 hex digits> <group>.<index> <JSON>
 *
 * A group is what was written and fsynced together. The index within it tells a torn last group (never promised to
 * anybody: cut off) from damage to something that had been promised (refused).
 */
export type JournalRecord =
  | { kind: "journal"; id: string; madeAt: number }
  | { kind: "fence"; fence: number; line?: string }
  /** This host's owner knows better: whoever comes next leads. */
  | { kind: "fence-forgotten"; at: number }
  | ApprovedRunRecord
  | AcceptedRecord
  | { kind: "phase"; step: string; phase: string; data: PhaseData; at: number }
  | { kind: "outcome"; step: string; outcome: Outcome; startedAt: number; endedAt: number }
  | { kind: "acked"; step: string };

export interface AcceptedRecord {
  kind: "accepted";
  step: string;
  op: Op;
  fence: number;
  /** Whose fencing number it is; absent: a belayd that doesn't say. */
  line?: string;
  check: boolean;
  deadlineMs: number;
  at: number;
  /** Its place in a run that people approved step by step; absent: nobody was asked. */
  approved?: ApprovedStep;
  /** What was approved, to be looked at once more when its turn comes. */
  proof?: StepProof;
}

export interface ApprovedStep {
  run: string;
  /** Root of the tree of steps that was approved. */
  root: string;
  seq: number;
  /** Until when the run must be remembered, milliseconds since the epoch. */
  until: number;
}

/** How far this host is in a run that people approved step by step: what keeps its steps from coming twice. */
export interface ApprovedRunRecord {
  kind: "approved-run";
  run: string;
  root: string;
  /** The last step that is done; -1: none. */
  done: number;
  /** The id under which that was. */
  last: string;
  /** How often the next one was begun. */
  tries?: number;
  until: number;
}

/** What an op noted when it passed a phase. Small: it is read back after a crash, not shown. */
export type PhaseData = Record<string, unknown>;

export function encodeLine(record: JournalRecord, group: number, index: number): string {
  const rest = `${group}.${index} ${JSON.stringify(record)}`;
  return `${checksum(rest)} ${rest}\n`;
}

export interface ReadBack {
  records: JournalRecord[];
  /** Bytes that hold whole records; what follows is a torn tail. */
  goodBytes: number;
  lastGroup: number;
}

/** Reads a journal's bytes. Throws `journal-corrupt` if anything but the last, unpromised group is damaged. */
export function decodeLines(bytes: Buffer, file: string): ReadBack {
  const records: JournalRecord[] = [];
  let goodBytes = 0;
  let lastGroup = 0;
  let damagedLine: number | null = null;
  let lineNumber = 0;
  for (let start = 0; start < bytes.length; ) {
    const newline = bytes.indexOf(0x0a, start);
    const end = newline === -1 ? bytes.length : newline;
    lineNumber += 1;
    const line = newline === -1 ? null : decodeLine(bytes.toString("utf8", start, end));
    start = end + 1;
    if (line === null) {
      damagedLine ??= lineNumber;
      continue;
    }
    if (damagedLine !== null) {
      // Index 0 begins a group, and a group begins only after the one before it was synced: the damage is old.
      if (line.index === 0) throw corrupt(file, damagedLine);
      continue;
    }
    records.push(line.record);
    lastGroup = line.group;
    goodBytes = start;
  }
  return { records, goodBytes, lastGroup };
}

function decodeLine(line: string): { record: JournalRecord; group: number; index: number } | null {
  const match = /^([0-9a-f]{8}) (([0-9]+)\.([0-9]+) (.*))$/s.exec(line);
  if (match === null || checksum(match[2] as string) !== match[1]) return null;
  // The checksum says that this is what we wrote, so its shape needs no second check.
  return { record: JSON.parse(match[5] as string) as JournalRecord, group: Number(match[3]), index: Number(match[4]) };
}

function checksum(text: string): string {
  return crc32(text).toString(16).padStart(8, "0");
}

function corrupt(file: string, line: number): BelayError {
  return new BelayError("journal-corrupt", `${file}:${line} is damaged, and was not the last thing written`, {
    hint: "look at what the disk did; then move the file away: belayd will treat this host's open steps as unknown, and no approval that was signed before counts here any more",
    context: { file, line },
  });
}
