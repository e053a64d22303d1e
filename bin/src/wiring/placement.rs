//! Which model runs on which of several graphics adapters.
//!
//! Models are placed in the order in which they are named, each on the adapter that carries the fewest bytes of weights so far, the
//! first of equals. One that has no room there goes to the next, and so on. Adapters that are left with nothing then take copies of the
//! models, again in order, so that two adapters serve one model twice as fast. Every copy has a thread of its own, and a job goes to the
//! copy that has the fewest.
//!
//! What an adapter has free is not asked: wgpu does not say.

/// Adapters, or other devices, and what they carry.
#[derive(Debug)]
pub struct Placement<D> {
    places: Vec<Place<D>>,
}

#[derive(Debug)]
struct Place<D> {
    device: D,
    bytes: u64,
    models: usize,
}

impl<D> Placement<D> {
    /// Devices that carry nothing yet.
    pub fn new(devices: impl IntoIterator<Item = D>) -> Self {
        Self { places: devices.into_iter().map(|device| Place { device, bytes: 0, models: 0 }).collect() }
    }

    /// Loads a model where it belongs; `load` gives it and its bytes.
    ///
    /// # Errors
    /// Those of `load`: the first that is not for want of room, else that of the last device.
    ///
    /// # Panics
    /// Without any device.
    pub fn place<T, E>(&mut self, mut load: impl FnMut(&D) -> Result<(T, u64), E>, is_for_room: impl Fn(&E) -> bool) -> Result<T, E> {
        let mut order: Vec<usize> = (0..self.places.len()).collect();
        order.sort_by_key(|at| self.places[*at].bytes);
        let last = order.pop().expect("there is a device, be it the processor");
        for at in order {
            match self.load_at(at, &mut load) {
                Err(error) if is_for_room(&error) => {}
                done => return done,
            }
        }
        self.load_at(last, &mut load)
    }

    /// Loads copies onto the devices that carry nothing; `load` is told the number of a model below `models`. Where a copy has no room
    /// the device stays empty.
    ///
    /// # Errors
    /// Those of `load` that are not for want of room.
    pub fn copies<T, E>(
        &mut self,
        models: usize,
        mut load: impl FnMut(usize, &D) -> Result<(T, u64), E>,
        is_for_room: impl Fn(&E) -> bool,
    ) -> Result<Vec<T>, E> {
        let mut copies = Vec::new();
        let empty: Vec<usize> = (0..self.places.len()).filter(|at| self.places[*at].models == 0).collect();
        for (model, at) in (0..models).cycle().zip(empty) {
            match self.load_at(at, &mut |device| load(model, device)) {
                Ok(copy) => copies.push(copy),
                Err(error) if is_for_room(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(copies)
    }

    fn load_at<T, E>(&mut self, at: usize, load: &mut impl FnMut(&D) -> Result<(T, u64), E>) -> Result<T, E> {
        let place = &mut self.places[at];
        let (model, bytes) = load(&place.device)?;
        place.bytes = place.bytes.saturating_add(bytes);
        place.models += 1;
        Ok(model)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Devices with room for so many bytes; a device that has none at all is broken.
    fn placed(room: &[u64], models: &[u64]) -> Result<Vec<(usize, usize)>, &'static str> {
        let mut placement = Placement::new(0..room.len());
        let mut taken = vec![0; room.len()];
        let mut load = |model: usize, device: &usize| match room[*device] {
            0 => Err("broken"),
            room if taken[*device] + models[model] > room => Err("no room"),
            _ => {
                taken[*device] += models[model];
                Ok(((model, *device), models[model]))
            }
        };
        let is_for_room = |error: &&str| *error == "no room";
        let mut all =
            (0..models.len()).map(|model| placement.place(|device| load(model, device), is_for_room)).collect::<Result<Vec<_>, _>>()?;
        all.extend(placement.copies(models.len(), &mut load, is_for_room)?);
        Ok(all)
    }

    #[test]
    fn a_model_goes_where_the_fewest_bytes_are() {
        assert_eq!(placed(&[100, 100], &[30, 10, 10, 10, 5]).unwrap(), [(0, 0), (1, 1), (2, 1), (3, 1), (4, 0)]);
        assert_eq!(placed(&[100], &[30, 10]).unwrap(), [(0, 0), (1, 0)], "one device takes all");
    }

    #[test]
    fn without_room_the_next_is_tried_and_without_any_room_it_is_said() {
        assert_eq!(placed(&[10, 100, 100], &[50, 20]).unwrap(), [(0, 1), (1, 2)]);
        assert_eq!(placed(&[10, 20], &[50]), Err("no room"));
        assert_eq!(placed(&[0, 100], &[50]), Err("broken"), "what is not for want of room is not passed over");
    }

    #[test]
    fn adapters_left_over_take_copies_in_order() {
        assert_eq!(placed(&[100; 5], &[30, 10]).unwrap(), [(0, 0), (1, 1), (0, 2), (1, 3), (0, 4)]);
        assert_eq!(placed(&[100, 20], &[30]).unwrap(), [(0, 0)], "a copy that has no room is left out");
        assert_eq!(placed(&[100, 100], &[]).unwrap(), []);
    }
}
