//! Holds two objects among its data, as aya's template has them, and says how large they are.

static EVENTS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/events"));
static OPENED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/opened"));

fn main() {
    // The whole of them is asked for, or it would be left out.
    let sum = |object: &[u8]| object.iter().fold(0, |sum: u64, byte| sum.rotate_left(5) ^ u64::from(std::hint::black_box(*byte)));
    println!("asks: {} {} {}", EVENTS.len(), OPENED.len(), sum(EVENTS) ^ sum(OPENED));
}
