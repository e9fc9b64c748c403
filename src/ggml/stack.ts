import koffi from "koffi";

/**
 * koffi runs native functions on stacks of its own: 2 MiB, and 128 KiB for asynchronous calls, unless told before
 * the first library is loaded. libllama's text splitting recurses once a character and needs the most that can be
 * had; asynchronous calls get what a thread would have. Pages are taken only when they are touched.
 */
koffi.config({ sync_stack_size: 16 * 1024 * 1024, async_stack_size: 8 * 1024 * 1024 });
