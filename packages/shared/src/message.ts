import Type, { type Static } from "typebox";
import { StepProof } from "./approval.js";
import { ErrorInfo } from "./error.js";
import { FactProbe, HostFacts } from "./fact.js";
import { Vouch } from "./identity.js";
import { HostName, Sha256, StepId } from "./ids.js";
import { Op } from "./op.js";
import { Outcome } from "./outcome.js";
import { marked } from "./since.js";

const closed = { additionalProperties: false } as const;

/**
 * What travels over an agent's WebSocket, as JSON text frames, one message a frame.
 * Order of a connection: hello -> welcome -> any of the rest, or refused -> close. Which version of the protocol they
 * speak is agreed on before, in the WebSocket's own handshake (see protocol.ts); hello and welcome repeat it.
 */
/** Larger frames close the connection (1009). A step or an outcome is a few KiB; facts stay below 64 KiB. */
export const MAX_FRAME_BYTES = 1024 * 1024;

/** A lease a millisecond for thirty years; whatever a host claims, a belayd can be raised above it. */
export const MAX_FENCE = 2 ** 40;
/** One start of one belayd: what tells two of them apart that give out the same fencing numbers (I13). */
const Line = Type.String({ pattern: "^[0-9a-f]{16}$" });
/** An audit log's own name. */
const LogName = Type.String({ pattern: "^[A-Za-z0-9._-]{1,64}$" });

/**
 * First word of an agent. `journal` is made once with the journal: a new one tells the controller that what it had sent
 * is forgotten, so that those outcomes are unknown, never assumed (I7). `open` lists accepted steps with no outcome yet.
 */
export const Hello = Type.Object(
  {
    type: Type.Literal("hello"),
    /** The agreed version. */
    protocol: Type.Integer({ minimum: 1 }),
    host: HostName,
    agentVersion: Type.String({ maxLength: 64 }),
    journal: Type.String({ pattern: "^[0-9a-f-]{8,64}$" }),
    open: Type.Array(StepId, { maxItems: 1024 }),
    /** The highest fencing number that it ever took a step under, and whose that was (I13). */
    lease: Type.Optional(
      Type.Object(
        { fence: Type.Integer({ minimum: 0, maximum: MAX_FENCE }), line: Type.Union([Line, Type.Null()]) },
        { ...closed, since: 2, spare: true },
      ),
    ),
    /** The newest checkpoint of belayd's audit log that it has seen; absent: none yet. */
    witnessed: Type.Optional(
      Type.Object({ log: LogName, size: Type.Integer({ minimum: 0 }) }, { ...closed, since: 2, spare: true }),
    ),
  },
  closed,
);

/** Facts about the host; sent after `welcome`, when they change, and at `factsEveryMs`. */
export const Facts = Type.Object({ type: Type.Literal("facts"), facts: HostFacts }, closed);

/** The step's intent is on this host's disk. */
export const Accepted = Type.Object({ type: Type.Literal("accepted"), step: StepId }, closed);

/** How far a long op is; lossy, never durable. `done` and `total` in `unit`. */
export const Progress = Type.Object(
  {
    type: Type.Literal("progress"),
    step: StepId,
    note: Type.String({ maxLength: 512 }),
    done: Type.Optional(Type.Number({ minimum: 0 })),
    total: Type.Optional(Type.Number({ minimum: 0 })),
    unit: Type.Optional(Type.String({ maxLength: 16 })),
  },
  closed,
);

/** Repeated on every connection until `ack`: at least once on the wire, once in the run (its fold drops repeats). */
export const StepOutcome = Type.Object(
  { type: Type.Literal("outcome"), step: StepId, outcome: Outcome, startedAt: Type.Integer(), endedAt: Type.Integer() },
  closed,
);

/** `probe` null: this host is not in the fleet file (it may connect and be listed, nothing more). */
export const Welcome = Type.Object(
  {
    type: Type.Literal("welcome"),
    protocol: Type.Integer({ minimum: 1 }),
    /** The controller pings this often; an agent that hears nothing for three of them redials. */
    pingEveryMs: Type.Integer({ minimum: 100 }),
    factsEveryMs: Type.Integer({ minimum: 100 }),
    probe: Type.Union([FactProbe, Type.Null()]),
  },
  closed,
);

/** Said before closing, so that the agent's log tells its host's owner why. `retry` false: redialling won't help. */
export const Refused = Type.Object({ type: Type.Literal("refused"), error: ErrorInfo, retry: Type.Boolean() }, closed);

/**
 * Do this. `fence` is the fencing number of the lease it is sent under: an agent refuses a lower one than it has seen
 * (I13). `check`: say what it would do, change nothing. `deadlineMs` is how long the op may take, from its start.
 */
export const Step = Type.Object(
  {
    type: Type.Literal("step"),
    step: StepId,
    fence: Type.Integer({ minimum: 0 }),
    check: Type.Boolean(),
    deadlineMs: Type.Integer({ minimum: 1 }),
    /** Whose fencing number it is: an agent refuses the same number of another. */
    line: Type.Optional(marked(Line, { since: 2, spare: true })),
    op: Op,
    /** That people approved it; absent: the plan asks for no signatures. An older agent believes belayd. */
    proof: Type.Optional(marked(StepProof, { since: 2, spare: true })),
  },
  closed,
);
export type Step = Static<typeof Step>;

/** The outcome is on the controller's disk; the agent may forget it. */
export const Ack = Type.Object({ type: Type.Literal("ack"), step: StepId }, closed);

/**
 * A checkpoint of belayd's audit log, for agents to remember as witnesses: whoever rewrites the log later contradicts them.
 * `proof` (base64) shows that it continues the checkpoint of `from` entries. `key` is for whoever knows none yet.
 */
export const LogCheckpoint = Type.Object(
  {
    type: Type.Literal("checkpoint"),
    note: Type.String({ maxLength: 4096 }),
    key: Type.String({ maxLength: 256 }),
    from: Type.Integer({ minimum: 0 }),
    proof: Type.Array(Type.String({ pattern: "^[A-Za-z0-9+/]{43}=$" }), { maxItems: 128 }),
  },
  { ...closed, since: 2 },
);

/**
 * An agent's answer to a checkpoint that it did not take: `refused` says why, with the note that it contradicts; null: it
 * lacks what leads there from the `size` that it knows. One that it took is not answered.
 */
export const Witnessed = Type.Object(
  {
    type: Type.Literal("witnessed"),
    log: LogName,
    size: Type.Integer({ minimum: 0 }),
    refused: Type.Union([ErrorInfo, Type.Null()]),
    known: Type.Union([Type.String({ maxLength: 4096 }), Type.Null()]),
  },
  { ...closed, since: 2, spare: true },
);

/**
 * Who may vouch for belayd from now on, and which of them issues. Said after the welcome to a host that came with a
 * certificate, and again when it changes. An agent keeps it on its disk, says so, and renews what another one issued.
 */
export const Authorities = Type.Object(
  {
    type: Type.Literal("authorities"),
    certificates: Type.Array(Type.String({ minLength: 1, maxLength: 16_384 }), { minItems: 1, maxItems: 16 }),
    issuing: Sha256,
    vouch: Vouch,
  },
  { ...closed, since: 2 },
);

/** These are on this host's disk: belayd may show any certificate that one of them issued. */
export const Trusts = Type.Object(
  { type: Type.Literal("trusts"), authorities: Type.Array(Sha256, { maxItems: 16 }) },
  { ...closed, since: 2, spare: true },
);

export const AgentMessage = Type.Union([Hello, Facts, Accepted, Progress, StepOutcome, Trusts, Witnessed]);
export type AgentMessage = Static<typeof AgentMessage>;
export const ControllerMessage = Type.Union([Welcome, Refused, Step, Ack, Authorities, LogCheckpoint]);
export type ControllerMessage = Static<typeof ControllerMessage>;
export type StepOutcome = Static<typeof StepOutcome>;
export type Authorities = Static<typeof Authorities>;
export type Hello = Static<typeof Hello>;
export type Progress = Static<typeof Progress>;
export type LogCheckpoint = Static<typeof LogCheckpoint>;
export type Witnessed = Static<typeof Witnessed>;

/** Close codes of the 4000 range, said by either side. */
export const CloseCode = {
  malformed: 4400,
  unauthorized: 4401,
  protocol: 4406,
  helloTimeout: 4408,
  replaced: 4409,
  /** Nothing is wrong: dial again, and be welcomed with what is true now. */
  outdated: 4410,
  tooSlow: 4429,
} as const;
