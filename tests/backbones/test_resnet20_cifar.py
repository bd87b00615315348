from backbones.cost import cost
from backbones.describe import describe


def test_it_has_the_parameters_and_multiply_adds_that_tables_print() -> None:
    counted = cost("resnet20_cifar/conv", classes=10, image_size=32)
    assert counted.params == 272_474
    assert round(counted.madds / 1e6, 3) == 40.813


def test_it_is_described_at_the_size_of_cifar() -> None:
    assert describe("resnet20_cifar/conv").image_size == 32
