// Where scripts about contracts run: on both machines, or with `BACKEND=sandbox` on TON's emulator alone, which needs no Rust.
import { Pair } from './pair.mjs';
import { Sandbox } from './sandbox.mjs';

export const BOTH = process.env.BACKEND !== 'sandbox';

export function start() {
  return BOTH ? Pair.start() : Sandbox.start();
}
