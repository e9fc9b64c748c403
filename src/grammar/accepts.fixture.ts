import type { Automaton } from "./automaton.ts";
import { type ParseState, ParseStates } from "./parse-states.ts";

/** Whether a grammar allows a text, whole. */
export function accepts(automaton: Automaton, text: string | Uint8Array): boolean {
  const states = new ParseStates(automaton, 8);
  let state: ParseState | null = states.start;
  for (const byte of Buffer.from(text as string)) {
    states.beginWork();
    state = states.step(state, byte);
    if (!state) return false;
  }
  return state.accepts;
}
