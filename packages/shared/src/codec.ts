import type { Static, TObject, TSchema, TUnion } from "typebox";
import { type Decoder, decoder } from "./decoder.js";
import { BelayError } from "./error.js";
import { AgentMessage, ControllerMessage, MAX_FRAME_BYTES } from "./message.js";
import { Op } from "./op.js";
import { PROTOCOL } from "./protocol.js";
import { schemaAt, valueAt } from "./since.js";

/**
 * A decoder for a union of objects that one literal field tells apart. An error speaks of the member that was meant, not
 * of the first one that didn't fit.
 */
export function taggedDecoder<S extends TUnion<TObject[]>>(
  union: S,
  tag: string,
  what: string,
  code: string,
): Decoder<Static<S>> {
  const members = new Map(
    union.anyOf.map((member) => {
      const { const: name } = member.properties[tag] as TSchema & { const: string };
      return [name, decoder(member, `${what} ${name}`, code)] as const;
    }),
  );
  return (input) => {
    const name = (input as Record<string, unknown> | null | undefined)?.[tag];
    const decode = typeof name === "string" ? members.get(name) : undefined;
    if (decode !== undefined) return decode(input) as Static<S>;
    throw new BelayError(code, `${what}: /${tag} is none of ${[...members.keys()].join(", ")}`, {
      context: { field: `/${tag}` },
    });
  };
}

export const decodeOp: Decoder<Op> = taggedDecoder(Op, "kind", "op", "op-malformed");

/** Everything that goes over the wire, as one version of the protocol has it. */
interface Codec {
  agent: Decoder<AgentMessage>;
  controller: Decoder<ControllerMessage>;
  op: Decoder<Op>;
}

const codecs = new Map<number, Codec>();

function codecOf(protocol: number): Codec {
  const known = codecs.get(protocol);
  if (known !== undefined) return known;
  const codec: Codec = {
    agent: taggedDecoder(schemaAt(AgentMessage, protocol), "type", "agent message", "message-malformed"),
    controller: taggedDecoder(schemaAt(ControllerMessage, protocol), "type", "controller message", "message-malformed"),
    op: taggedDecoder(schemaAt(Op, protocol), "kind", "op", "op-malformed"),
  };
  codecs.set(protocol, codec);
  return codec;
}

/**
 * Decodes one text frame from an agent, strictly as the agreed version of the protocol has it: whoever agreed on an older
 * one must not send what came later. Throws `message-malformed` or `message-too-large`.
 */
export function decodeAgentMessage(frame: string, protocol: number = PROTOCOL.newest): AgentMessage {
  return codecOf(protocol).agent(parseFrame(frame));
}

/** Decodes one text frame from the controller, as `decodeAgentMessage` does. */
export function decodeControllerMessage(frame: string, protocol: number = PROTOCOL.newest): ControllerMessage {
  return codecOf(protocol).controller(parseFrame(frame));
}

/**
 * A message as the agreed version of the protocol says it. What an older peer does right without is left out; throws
 * `beyond-protocol` where something else came later, because half of a message must not be taken for the whole.
 */
export function encode(message: AgentMessage | ControllerMessage, protocol: number = PROTOCOL.newest): string {
  if (protocol === PROTOCOL.newest) return JSON.stringify(message);
  const isOfAgent = AgentMessage.anyOf.some(({ properties }) => properties.type.const === message.type);
  const { agent, controller } = codecOf(protocol);
  const said = valueAt(isOfAgent ? AgentMessage : ControllerMessage, message, protocol);
  return JSON.stringify(within(isOfAgent ? agent : controller, said, message.type, protocol));
}

/** Throws `beyond-protocol` if an op can't be put to an agent that speaks this version of the protocol. */
export function mustBeSayable(op: Op, protocol: number): void {
  if (protocol !== PROTOCOL.newest) within(codecOf(protocol).op, valueAt(Op, op, protocol), op.kind, protocol);
}

function within(decode: Decoder<unknown>, said: unknown, what: string, protocol: number): unknown {
  try {
    return decode(said);
  } catch (cause) {
    throw new BelayError(
      "beyond-protocol",
      `protocol ${protocol} can't say this ${what}: ${(cause as Error).message}`,
      {
        hint: "Upgrade the older of the two.",
        context: { protocol },
        cause,
      },
    );
  }
}

function parseFrame(frame: string): unknown {
  if (frame.length > MAX_FRAME_BYTES) {
    throw new BelayError("message-too-large", `a frame of ${frame.length} characters; the limit is ${MAX_FRAME_BYTES}`);
  }
  if (isDeep(frame))
    throw new BelayError("message-malformed", `a frame that is nested deeper than ${MAX_DEPTH} levels`);
  try {
    return JSON.parse(frame);
  } catch (cause) {
    throw new BelayError("message-malformed", "a frame that is not JSON", { cause });
  }
}

/** What Belay says is a dozen levels deep. Parsing takes memory by the level, and writing such a thing again takes stack. */
const MAX_DEPTH = 64;

/** Looks only: what is no JSON is found out by who parses it. */
function isDeep(text: string): boolean {
  let depth = 0;
  for (let at = 0; at < text.length; at += 1) {
    switch (text.charCodeAt(at)) {
      case 0x22: // "
        at = endOfString(text, at);
        break;
      case 0x5b: // [
      case 0x7b: // {
        depth += 1;
        if (depth > MAX_DEPTH) return true;
        break;
      case 0x5d: // ]
      case 0x7d: // }
        depth -= 1;
    }
  }
  return false;
}

/** The index of the quote that ends the string whose first quote is at `from`; the text's end where none does. */
function endOfString(text: string, from: number): number {
  for (let at = from + 1; ; at += 1) {
    at = text.indexOf('"', at);
    if (at < 0) return text.length;
    let escapes = 0;
    while (text.charCodeAt(at - 1 - escapes) === 0x5c) escapes += 1;
    if (escapes % 2 === 0) return at;
  }
}
