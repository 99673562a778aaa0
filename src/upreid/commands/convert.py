"""`upreid convert`: weights of another program become an encoder file of ours, and ours become weights for another program."""

from dataclasses import replace

from upreid.config.interchange import ConvertConfig
from upreid.errors import InputError
from upreid.models.encoder import Encoder, encoder_file, fit_to_header, is_encoder_file, load_encoder, save_encoder
from upreid.models.foreign import Choices, make_encoder, read_checkpoint
from upreid.models.foreign.folder import push, write_folder
from upreid.models.foreign.writing import write_for
from upreid.runtime.console import say


def run(config: ConvertConfig) -> None:
    """Read, say what was found, and write."""
    if config.src.is_file() and config.out.exists() and config.out.samefile(config.src):
        raise InputError(f"{config.out} is what is to be converted; give another name to write to")
    if config.push and config.to != "folder":
        raise InputError("--push sends a model folder; add --to folder")
    if config.to == "upreid" and config.out.suffix != ".safetensors":
        raise InputError(f"{config.out}: an encoder file of upreid ends in .safetensors; give such a name, or --to")
    refuse_existing(config)
    encoder = read(config)
    if config.without_head and encoder.head is not None:
        encoder = Encoder(encoder.backbone, replace(encoder.header, head=None, neck="after", calibration=None))
        say("the head was left (--without-head)")
    say_preprocess(encoder)
    if config.to == "upreid":
        save_encoder(config.out, encoder)
    elif config.to == "folder":
        write_folder(config.out, encoder)
    else:
        write_for(config.to, encoder, config.out)
    say(f"written to {config.out} ({config.to})")
    if config.push:
        say(f"sent to {push(config.out, config.push)}")


def refuse_existing(config: ConvertConfig) -> None:
    """Refuse to write over a file that is no encoder of ours; model folders look after themselves."""
    is_folder = config.to in ("folder", "reid")
    if config.out.exists() and not is_folder and not (config.to == "upreid" and is_encoder_file(config.out)):
        raise InputError(f"{config.out} exists, and may be anybody's; give another name, or move it away")


def read(config: ConvertConfig) -> Encoder:
    """Return the encoder that is to be converted, ours or another program's, with the input that the flags ask for."""
    path = config.src
    if path.is_dir() or is_encoder_file(path):
        named = ("format", "backbone", "last_stride", "patch_stride", "attention_heads", "domain")
        if given := [f"--{name.replace('_', '-')}" for name in named if getattr(config, name) is not None]:
            raise InputError(
                f"{path} is an encoder of upreid, whose header says what {', '.join(given)} would; leave it out"
            )
        encoder = load_encoder(path)
        say(f"{encoder_file(path)} is an encoder of upreid: {encoder.header.backbone}")
        return with_flags(encoder, config)
    choices = Choices(
        format=config.format,
        backbone=config.backbone,
        last_stride=config.last_stride,
        patch_stride=config.patch_stride,
        attention_heads=config.attention_heads,
        domain=config.domain,
    )
    foreign = read_checkpoint(path, choices)
    height, width = config.height or foreign.size[0], config.width or foreign.size[1]
    encoder, report = make_encoder(foreign, path, height=height, width=width)
    for sentence in (*foreign.sentences, *report):
        say(sentence.replace("--input.mean and --input.std", "--mean and --std"))
    return with_flags(encoder, config)


def with_flags(encoder: Encoder, config: ConvertConfig) -> Encoder:
    """Put into the header what flags say of the input."""
    names = ("height", "width", "mean", "std", "interpolation")
    given = {name: value for name in names if (value := getattr(config, name)) is not None}
    if given and encoder.header.calibration:
        given["calibration"] = None
        say("the calibration was left: it holds for the input that it was made with")
    changed = Encoder(encoder.backbone, replace(encoder.header, **given), encoder.head).eval()
    if {"height", "width"} & given.keys():
        fit_to_header(changed)
    return changed


def say_preprocess(encoder: Encoder) -> None:
    """Say how images are made ready for an encoder."""
    header = encoder.header
    say(
        f"input {header.height}x{header.width}, {header.interpolation}, RGB from 0 to 1, mean {header.mean}, std {header.std}"
    )
