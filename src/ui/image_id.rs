//! Shows nothing of a build but the ID of its image.

use crate::solve::{BuildEvent, EventSink};

use super::screen::Screen;

/// Writes the image ID on a line of its own once the image exists.
pub(super) struct ImageId {
    screen: Screen,
}

impl ImageId {
    pub(super) fn new(screen: Screen) -> Self {
        Self { screen }
    }
}

impl EventSink for ImageId {
    fn emit(&mut self, event: BuildEvent) {
        if let BuildEvent::Built { image_id, .. } = event {
            self.screen.write(&format!("{image_id}\n"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Digest;
    use crate::ui::screen::fake::{Record, started, wrote};

    #[test]
    fn only_the_image_id_is_written() {
        let record = Record::default();
        let mut sink = ImageId::new(record.screen(false));
        sink.emit(started(1, "[1/1] RUN make"));
        sink.emit(wrote(1, b"output\n"));
        sink.emit(BuildEvent::Warning {
            message: "look".to_owned(),
        });
        assert_eq!(record.text(), "");
        sink.emit(BuildEvent::Built {
            image_id: Digest::of("x"),
            names: vec!["app:latest".to_owned()],
        });
        assert_eq!(record.text(), format!("{}\n", Digest::of("x")));
    }
}
