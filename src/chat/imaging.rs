//! Images, written anew: what is given out has the pixels of what came in and nothing else of it.
//!
//! A camera writes into a picture where and when it was taken and by whom; an attacker hides a page or a program behind
//! one. Neither survives. The turn that a camera notes is applied first, for it goes with the rest. All frames of an
//! animated GIF are kept; of other animations the first. How large a picture may be is bounded before it is unpacked:
//! a few bytes can say that they are a million by a million pixels. This is work for a thread that may block.

use std::io::Cursor;

use gif::{DisposalMethod, Encoder, Repeat};
use image::codecs::gif::GifDecoder;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::codecs::webp::WebPEncoder;
use image::{
    AnimationDecoder as _, DynamicImage, ImageDecoder as _, ImageFormat, ImageReader, ImageResult, Limits,
};

use super::model::sniff::Picture;

/// The pixels of a picture, of all frames together.
const PIXELS_MAX: u64 = 32 << 20;
/// The longest side of a picture, in pixels.
const SIDE_MAX: u32 = 16_384;
/// The memory that unpacking one may take, in bytes.
const MEMORY_MAX: u64 = 256 << 20;
/// The frames of an animation.
const FRAMES_MAX: usize = 500;
/// The longest side of a preview, in pixels.
const PREVIEW_SIDE: u32 = 512;
/// How good a JPEG is written, of 100.
const QUALITY: u8 = 90;
const PREVIEW_QUALITY: u8 = 80;
/// How much work goes into the colours of a GIF's frames: 1 the most, 30 the least.
const GIF_SPEED: i32 = 10;

/// A picture that was written anew.
#[derive(Debug)]
pub struct Remade {
    /// The picture.
    pub bytes: Vec<u8>,
    /// A small one of it.
    pub preview: Vec<u8>,
    /// What the small one is.
    pub preview_type: &'static str,
}

/// The bytes begin like a picture, and are none, or a larger one than is taken.
#[derive(Debug, thiserror::Error)]
#[error("the picture cannot be read: {0}")]
pub struct Unreadable(String);

impl From<gif::EncodingError> for Unreadable {
    fn from(error: gif::EncodingError) -> Self {
        Self(error.to_string())
    }
}

impl From<image::ImageError> for Unreadable {
    fn from(error: image::ImageError) -> Self {
        Self(error.to_string())
    }
}

/// Writes a picture anew.
///
/// # Errors
/// When it cannot be read, or is too large.
pub fn remake(bytes: &[u8], picture: Picture) -> Result<Remade, Unreadable> {
    let (whole, first) = if picture == Picture::Gif { animation(bytes)? } else { still(bytes, picture)? };
    let small = first.thumbnail(PREVIEW_SIDE.min(first.width()), PREVIEW_SIDE.min(first.height()));
    let (preview, preview_type) = preview(&small)?;
    Ok(Remade { bytes: whole, preview, preview_type })
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_image_width = Some(SIDE_MAX);
    limits.max_image_height = Some(SIDE_MAX);
    limits.max_alloc = Some(MEMORY_MAX);
    limits
}

fn check((width, height): (u32, u32), frames: u64) -> Result<(), Unreadable> {
    let pixels = u64::from(width).saturating_mul(u64::from(height)).saturating_mul(frames);
    if pixels > PIXELS_MAX || width > SIDE_MAX || height > SIDE_MAX {
        return Err(Unreadable(format!("{width} by {height} pixels, {frames} times")));
    }
    Ok(())
}

fn still(bytes: &[u8], picture: Picture) -> Result<(Vec<u8>, DynamicImage), Unreadable> {
    let format = match picture {
        Picture::Png => ImageFormat::Png,
        Picture::Jpeg => ImageFormat::Jpeg,
        Picture::Gif => ImageFormat::Gif,
        Picture::WebP => ImageFormat::WebP,
    };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits());
    let mut decoder = reader.into_decoder()?;
    check(decoder.dimensions(), 1)?;
    let orientation = decoder.orientation()?;
    let mut image = DynamicImage::from_decoder(decoder)?;
    image.apply_orientation(orientation);
    let mut whole = Vec::new();
    match picture {
        Picture::Jpeg => jpeg(&image, &mut whole, QUALITY)?,
        Picture::WebP => eight_bits(&image).write_with_encoder(WebPEncoder::new_lossless(&mut whole))?,
        Picture::Png | Picture::Gif => image.write_with_encoder(PngEncoder::new(&mut whole))?,
    }
    Ok((whole, image))
}

/// Each frame is written whole, and clears what was there before it: parts of it may be transparent.
fn animation(bytes: &[u8]) -> Result<(Vec<u8>, DynamicImage), Unreadable> {
    let mut decoder = GifDecoder::new(Cursor::new(bytes))?;
    decoder.set_limits(limits())?;
    let size = decoder.dimensions();
    check(size, 1)?;
    // A GIF's own measures have sixteen bits.
    let side = |length: u32| u16::try_from(length).unwrap_or(u16::MAX);
    let (mut whole, mut first) = (Vec::new(), None);
    let mut encoder = Encoder::new(&mut whole, side(size.0), side(size.1), &[])?;
    for (number, frame) in (1..).zip(decoder.into_frames().take(FRAMES_MAX)) {
        let frame = frame?;
        check(size, number)?;
        let (numerator, denominator) = frame.delay().numer_denom_ms();
        let hundredths = numerator.checked_div(denominator.saturating_mul(10)).unwrap_or(0);
        let mut pixels = frame.into_buffer();
        if first.is_none() {
            first = Some(DynamicImage::ImageRgba8(pixels.clone()));
            encoder.set_repeat(Repeat::Infinite)?;
        }
        let (width, height) = (side(pixels.width()), side(pixels.height()));
        let mut written = gif::Frame::from_rgba_speed(width, height, &mut pixels, GIF_SPEED);
        written.delay = u16::try_from(hundredths).unwrap_or(u16::MAX);
        written.dispose = DisposalMethod::Background;
        encoder.write_frame(&written)?;
    }
    drop(encoder);
    first.map(|first| (whole, first)).ok_or_else(|| Unreadable("it has no frame".to_owned()))
}

fn preview(small: &DynamicImage) -> Result<(Vec<u8>, &'static str), Unreadable> {
    let mut bytes = Vec::new();
    if small.color().has_alpha() {
        eight_bits(small).write_with_encoder(PngEncoder::new(&mut bytes))?;
        return Ok((bytes, Picture::Png.media_type()));
    }
    jpeg(small, &mut bytes, PREVIEW_QUALITY)?;
    Ok((bytes, Picture::Jpeg.media_type()))
}

fn jpeg(image: &DynamicImage, into: &mut Vec<u8>, quality: u8) -> ImageResult<()> {
    let encoder = JpegEncoder::new_with_quality(into, quality);
    match image {
        DynamicImage::ImageLuma8(grey) => grey.write_with_encoder(encoder),
        image => image.to_rgb8().write_with_encoder(encoder),
    }
}

/// The same picture with eight bits for each colour, which every form can write.
fn eight_bits(image: &DynamicImage) -> DynamicImage {
    if image.color().has_alpha() {
        DynamicImage::ImageRgba8(image.to_rgba8())
    } else {
        DynamicImage::ImageRgb8(image.to_rgb8())
    }
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage, Rgba, RgbaImage};

    use super::*;

    /// A red picture with a green corner at its top left.
    fn red(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| {
            if x < width / 2 && y < height / 2 { Rgb([0, 200, 0]) } else { Rgb([200, 0, 0]) }
        })
    }

    fn written(format: ImageFormat, image: &DynamicImage) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    /// A JPEG as a camera writes it, with its Exif: it was turned, and taken by somebody.
    fn from_a_camera(orientation: u8) -> Vec<u8> {
        let plain = written(ImageFormat::Jpeg, &red(64, 32).into());
        let mut exif = b"Exif\0\0II*\0\x08\0\0\0\x02\0".to_vec();
        exif.extend([0x12, 0x01, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0]);
        exif.extend([0x3b, 0x01, 2, 0, 11, 0, 0, 0, 38, 0, 0, 0, 0, 0, 0, 0]);
        exif.extend(b"Ada Secret\0");
        let length = u16::try_from(exif.len() + 2).unwrap().to_be_bytes();
        [&plain[..2], &[0xff, 0xe1], &length, &exif, &plain[2..]].concat()
    }

    fn holds(bytes: &[u8], words: &[u8]) -> bool {
        bytes.windows(words.len()).any(|window| window == words)
    }

    #[test]
    fn what_a_camera_notes_goes_and_its_turn_is_applied() {
        let taken = from_a_camera(6);
        assert!(holds(&taken, b"Ada Secret") && holds(&taken, b"Exif"));
        let made = remake(&taken, Picture::Jpeg).unwrap();
        assert!(!holds(&made.bytes, b"Ada Secret") && !holds(&made.bytes, b"Exif"));
        let turned = image::load_from_memory(&made.bytes).unwrap().to_rgb8();
        assert_eq!(turned.dimensions(), (32, 64));
        // Turned to the right: what was at the top left is at the top right.
        let is_green = |x, y| turned.get_pixel(x, y).0[1] > 100;
        assert!(is_green(28, 4) && !is_green(4, 4) && !is_green(28, 60));
        assert_eq!(made.preview_type, "image/jpeg");
    }

    #[test]
    fn what_is_hidden_behind_a_picture_goes() {
        for (format, picture) in [
            (ImageFormat::Png, Picture::Png),
            (ImageFormat::Jpeg, Picture::Jpeg),
            (ImageFormat::Gif, Picture::Gif),
            (ImageFormat::WebP, Picture::WebP),
        ] {
            let image: DynamicImage = RgbaImage::from_pixel(700, 300, Rgba([9, 9, 200, 255])).into();
            let image = if picture == Picture::Jpeg { image.to_rgb8().into() } else { image };
            let mut bytes = written(format, &image);
            bytes.extend(b"PK\x03\x04<script>alert(1)</script>");
            let made = remake(&bytes, picture).unwrap();
            assert!(!holds(&made.bytes, b"<script>"), "{format:?}");
            let again = image::load_from_memory_with_format(&made.bytes, format).unwrap();
            assert_eq!((again.width(), again.height()), (700, 300), "{format:?}");
            let preview = image::load_from_memory(&made.preview).unwrap();
            assert_eq!((preview.width(), preview.height()), (512, 219), "{format:?}");
        }
    }

    #[test]
    fn a_small_picture_is_not_made_larger() {
        let made = remake(&written(ImageFormat::Png, &red(20, 10).into()), Picture::Png).unwrap();
        let preview = image::load_from_memory(&made.preview).unwrap();
        assert_eq!((preview.width(), preview.height()), (20, 10));
    }

    #[test]
    fn an_animation_keeps_its_frames_and_loses_its_comments() {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, 8, 8, &[]).unwrap();
        encoder.write_raw_extension(gif::Extension::Comment.into(), &[b"by Ada Secret"]).unwrap();
        for shade in [10, 200] {
            let mut pixels = [shade, 0, 0, 255].repeat(64);
            let mut frame = gif::Frame::from_rgba_speed(8, 8, &mut pixels, 10);
            frame.delay = 7;
            encoder.write_frame(&frame).unwrap();
        }
        drop(encoder);
        let made = remake(&bytes, Picture::Gif).unwrap();
        let decoder = GifDecoder::new(Cursor::new(&made.bytes)).unwrap();
        let frames = decoder.into_frames().collect_frames().unwrap();
        let shades: Vec<u8> = frames.iter().map(|frame| frame.buffer().get_pixel(4, 4).0[0]).collect();
        assert_eq!(shades, [10, 200]);
        assert!(holds(&bytes, b"Ada Secret") && !holds(&made.bytes, b"Ada Secret"));
        assert!(frames.iter().all(|frame| frame.delay().numer_denom_ms() == (70, 1)));
    }

    /// A PNG of so many pixels with next to nothing in it.
    fn bomb(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = written(ImageFormat::Png, &red(1, 1).into());
        bytes[16..20].copy_from_slice(&width.to_be_bytes());
        bytes[20..24].copy_from_slice(&height.to_be_bytes());
        let sum = crc(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    /// The sum that PNG puts behind a chunk.
    fn crc(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(u32::MAX, |sum, byte| {
            (0..8)
                .fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg()))
        })
    }

    #[test]
    fn a_picture_that_unpacks_into_too_much_is_refused_before_it_is_unpacked() {
        for (width, height) in [(16_000, 16_000), (1_000_000, 1_000_000), (20_000, 1), (1, 20_000)] {
            let refused = remake(&bomb(width, height), Picture::Png).unwrap_err();
            assert!(!refused.to_string().contains("CRC"), "{refused}");
        }
        // Many frames are as good as one large one.
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, 4_000, 4_000, &[0, 0, 0]).unwrap();
        for _ in 0..3 {
            let frame = gif::Frame { width: 1, height: 1, buffer: vec![0].into(), ..gif::Frame::default() };
            encoder.write_frame(&frame).unwrap();
        }
        drop(encoder);
        assert!(bytes.len() < 1_000);
        assert!(
            remake(&bytes, Picture::Gif).unwrap_err().to_string().contains("4000 by 4000 pixels, 3 times")
        );
    }

    #[test]
    fn what_only_begins_like_a_picture_is_refused() {
        for picture in [Picture::Png, Picture::Jpeg, Picture::Gif, Picture::WebP] {
            for bytes in
                [b"\x89PNG\r\n\x1a\n".as_slice(), b"\xff\xd8\xff\xe0", b"GIF89a", b"RIFF\0\0\0\0WEBP"]
            {
                assert!(remake(bytes, picture).is_err());
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn a_spoilt_picture_is_read_or_refused(at: proptest::sample::Index, flip in 1..=u8::MAX, kind in 0_usize..4) {
            let (format, picture) = [
                (ImageFormat::Png, Picture::Png),
                (ImageFormat::Jpeg, Picture::Jpeg),
                (ImageFormat::Gif, Picture::Gif),
                (ImageFormat::WebP, Picture::WebP),
            ][kind];
            let mut bytes = written(format, &red(16, 16).into());
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            let _ = remake(&bytes, picture);
        }
    }
}
