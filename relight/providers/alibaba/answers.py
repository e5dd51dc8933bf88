"""What Alibaba Cloud ECS answers."""

from typing import Annotated, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    Field,
    IPvAnyAddress,
    JsonValue,
    StringConstraints,
    TypeAdapter,
)

Id = Annotated[str, StringConstraints(min_length=1, max_length=255)]


class _Tag(BaseModel):
    name: str = Field(alias="TagKey")
    value: str = Field(default="", alias="TagValue")


class Tags(BaseModel):
    """The tags of an instance or of an image."""

    all: list[_Tag] = Field(default=[], alias="Tag")

    @property
    def texts(self) -> dict[str, str]:
        """The values by name."""
        return {tag.name: tag.value for tag in self.all}


class _Addresses(BaseModel):
    all: list[IPvAnyAddress] = Field(default=[], alias="IpAddress")


class _Elastic(BaseModel):
    address: IPvAnyAddress | Literal[""] = Field(default="", alias="IpAddress")


class _Vpc(BaseModel):
    private: _Addresses = Field(default=_Addresses(), alias="PrivateIpAddress")


class Instance(BaseModel):
    """An instance."""

    id: Id = Field(alias="InstanceId")
    name: str = Field(default="", alias="InstanceName")
    status: str = Field(alias="Status")
    created_at: AwareDatetime | None = Field(default=None, alias="CreationTime")
    public: _Addresses = Field(default=_Addresses(), alias="PublicIpAddress")
    elastic: _Elastic = Field(default=_Elastic(), alias="EipAddress")
    image_id: str = Field(default="", alias="ImageId")
    vpc: _Vpc = Field(default=_Vpc(), alias="VpcAttributes")
    tags: Tags = Field(default=Tags(), alias="Tags")

    def address(self, *, is_public: bool) -> str | None:
        """Return where SSH reaches it; None until it has an address.

        Args:
            is_public: it has, or will have, a public address.
        """
        public = [*self.public.all, *([self.elastic.address] if self.elastic.address else [])]
        found = public or ([] if is_public else self.vpc.private.all)
        return str(found[0]) if found else None


class _Instances(BaseModel):
    all: list[JsonValue] = Field(alias="Instance")


class InstancesPage(BaseModel):
    """A page of instances, each still to be read as `INSTANCE`; the last one has no token."""

    instances: _Instances = Field(alias="Instances")
    next_token: str = Field(default="", alias="NextToken")


class _Created(BaseModel):
    ids: list[Id] = Field(alias="InstanceIdSet", min_length=1, max_length=1)


class Created(BaseModel):
    """The answer to a creation of one instance."""

    created: _Created = Field(alias="InstanceIdSets")


class Image(BaseModel):
    """An image."""

    id: Id = Field(alias="ImageId")
    name: str = Field(default="", alias="ImageName")
    created_at: AwareDatetime = Field(alias="CreationTime")


class _Images(BaseModel):
    all: list[Image] = Field(alias="Image")


class ImagesPage(BaseModel):
    """A page of images."""

    images: _Images = Field(alias="Images")
    total: int = Field(alias="TotalCount", ge=0)


class Console(BaseModel):
    """The output of a console, in base64."""

    output: str = Field(default="", alias="ConsoleOutput")


class Done(BaseModel):
    """The answer to an action that returns nothing."""

    request_id: str = Field(alias="RequestId")


DONE = TypeAdapter(Done)


class _Value(BaseModel):
    text: str = Field(default="", alias="Value")


class _Values(BaseModel):
    all: list[_Value] = Field(alias="ValueItem")


class Attribute(BaseModel):
    """One limit of the account."""

    name: str = Field(alias="AttributeName")
    values: _Values = Field(alias="AttributeValues")


class _Attributes(BaseModel):
    all: list[Attribute] = Field(alias="AccountAttributeItem")


class Account(BaseModel):
    """Limits of the account in a region."""

    attributes: _Attributes = Field(alias="AccountAttributeItems")


ACCOUNT = TypeAdapter(Account)
INSTANCE = TypeAdapter(Instance)
INSTANCES_PAGE = TypeAdapter(InstancesPage)
CREATED = TypeAdapter(Created)
IMAGES_PAGE = TypeAdapter(ImagesPage)
CONSOLE = TypeAdapter(Console)
