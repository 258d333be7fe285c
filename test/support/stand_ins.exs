# Modules of the same shape as those of libraries that the package does not depend on, and of
# newer Elixirs. They are loaded by the test that needs them and removed again, for their
# mere presence changes what the codec does. Its value is the list of those made here.

missing =
  for name <- [Decimal, Duration, Explorer.DataFrame, Nx, Nx.Tensor],
      not Code.ensure_loaded?(name),
      do: name

if Decimal in missing do
  defmodule Decimal do
    defstruct sign: 1, coef: 0, exp: 0
  end
end

if Duration in missing do
  defmodule Duration do
    defstruct year: 0,
              month: 0,
              week: 0,
              day: 0,
              hour: 0,
              minute: 0,
              second: 0,
              microsecond: {0, 0}
  end
end

if Explorer.DataFrame in missing do
  defmodule Explorer.DataFrame do
    defstruct [:stream]
    def dump_ipc_stream!(dataframe), do: dataframe.stream
    def load_ipc_stream!(stream), do: %{struct(__MODULE__) | stream: stream}
  end
end

if Nx.Tensor in missing do
  defmodule Nx.Tensor do
    defstruct [:data, :type, :shape]
  end
end

if Nx in missing do
  defmodule Nx do
    def from_binary(data, type), do: %{struct(Nx.Tensor) | data: data, type: type}
    def reshape(tensor, shape), do: %{tensor | shape: shape}
    def type(tensor), do: tensor.type
    def shape(tensor), do: tensor.shape
    def to_binary(tensor), do: tensor.data
  end
end

missing
