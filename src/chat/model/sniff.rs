//! What bytes are, by themselves: neither the name that a file was given nor what its sender says of it counts.
//!
//! A handful of kinds, told by how they begin. Only images are shown by browsers in place, and those are written anew
//! before anybody gets them; all else is handed out to be saved, so that for it the kind is a help to people and no
//! promise.

/// An image that is written anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Picture {
    /// PNG.
    Png,
    /// JPEG.
    Jpeg,
    /// GIF.
    Gif,
    /// WebP.
    WebP,
}

impl Picture {
    /// The media type.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Gif => "image/gif",
            Self::WebP => "image/webp",
        }
    }

    /// The image that a media type of ours names.
    #[must_use]
    pub fn of(media_type: &str) -> Option<Self> {
        [Self::Png, Self::Jpeg, Self::Gif, Self::WebP].into_iter().find(|it| it.media_type() == media_type)
    }
}

/// What bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An image.
    Picture(Picture),
    /// Something else, by its media type.
    Other(&'static str),
}

/// Text, whatever it says: also a page or a script, which nobody is to run.
pub const TEXT: &str = "text/plain; charset=utf-8";
/// What is not known.
pub const BYTES: &str = "application/octet-stream";

/// How files begin: bytes at a place.
const BEGINNINGS: &[(usize, &[u8], &str)] = &[
    (0, b"%PDF-", "application/pdf"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"\x1f\x8b\x08", "application/gzip"),
    (4, b"ftypM4A", "audio/mp4"),
    (4, b"ftyp", "video/mp4"),
    (0, b"\x1a\x45\xdf\xa3", "video/webm"),
    (0, b"OggS", "audio/ogg"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"\xff\xfb", "audio/mpeg"),
    (0, b"fLaC", "audio/flac"),
];

/// What these bytes are.
#[must_use]
pub fn sniff(bytes: &[u8]) -> Kind {
    let at = |place: usize, words: &[u8]| bytes.get(place..).is_some_and(|rest| rest.starts_with(words));
    if at(0, b"\x89PNG\r\n\x1a\n") {
        return Kind::Picture(Picture::Png);
    }
    if at(0, b"\xff\xd8\xff") {
        return Kind::Picture(Picture::Jpeg);
    }
    if at(0, b"GIF87a") || at(0, b"GIF89a") {
        return Kind::Picture(Picture::Gif);
    }
    if at(0, b"RIFF") && at(8, b"WEBP") {
        return Kind::Picture(Picture::WebP);
    }
    if at(0, b"RIFF") && at(8, b"WAVE") {
        return Kind::Other("audio/wav");
    }
    if let Some((_, _, kind)) = BEGINNINGS.iter().find(|(place, words, _)| at(*place, words)) {
        return Kind::Other(kind);
    }
    let printable = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t' | '\u{c}');
    let is_text = std::str::from_utf8(bytes).is_ok_and(|text| text.chars().all(printable));
    Kind::Other(if is_text { TEXT } else { BYTES })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_speak_for_themselves() {
        for (bytes, expected) in [
            (b"\x89PNG\r\n\x1a\nxx".as_slice(), Kind::Picture(Picture::Png)),
            (b"\xff\xd8\xff\xe0", Kind::Picture(Picture::Jpeg)),
            (b"GIF89a/*\x00*/=1;alert(1)", Kind::Picture(Picture::Gif)),
            (b"RIFF\x01\x00\x00\x00WEBPVP8 ", Kind::Picture(Picture::WebP)),
            (b"RIFF\x01\x00\x00\x00WAVEfmt ", Kind::Other("audio/wav")),
            (b"%PDF-1.7\n<script>", Kind::Other("application/pdf")),
            (b"PK\x03\x04\x14\x00", Kind::Other("application/zip")),
            (b"\x00\x00\x00\x18ftypM4A ", Kind::Other("audio/mp4")),
            (b"\x00\x00\x00\x18ftypisom", Kind::Other("video/mp4")),
            (b"<!DOCTYPE html><script>alert(1)</script>", Kind::Other(TEXT)),
            (b"<svg xmlns='http://www.w3.org/2000/svg' onload='x()'/>", Kind::Other(TEXT)),
            ("Zwölf\r\n\tBoxkämpfer".as_bytes(), Kind::Other(TEXT)),
            (b"MZ\x90\x00\x03", Kind::Other(BYTES)),
            (b"\xff\xfe<\x00h\x00", Kind::Other(BYTES)),
            (b"GIF88a", Kind::Other(TEXT)),
        ] {
            assert_eq!(sniff(bytes), expected, "{}", String::from_utf8_lossy(bytes));
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_something(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..64)) {
            let _ = sniff(&bytes);
        }
    }
}
