export { type Effects, happensOnce, type RepeatedRequest } from './happens-once.js';
