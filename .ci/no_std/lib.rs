//! The library without features in a program that has neither std nor an allocator. It does not
//! build if anything brings std (a second panic handler) or alloc (no allocator).
#![no_std]

use quarter as _;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
