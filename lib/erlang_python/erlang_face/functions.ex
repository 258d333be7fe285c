defmodule ErlangPython.ErlangFace.Functions do
  @moduledoc false
  # What Python may call in Erlang: functions of one argument, the list of what Python passes.

  alias ErlangPython.Callbacks.Functions
  alias ErlangPython.ErlangFace.Text

  @spec register(term(), term()) :: :ok | {:error, :invalid_args}
  def register(name, function)
      when is_function(function, 1) or
             (tuple_size(function) == 2 and is_atom(elem(function, 0)) and
                is_atom(elem(function, 1))) do
    with {:ok, name} <- Text.name(name),
         do: Functions.put(name, %{function: function, face: :erlang, kwargs: false})
  end

  def register(_name, _function), do: {:error, :invalid_args}

  @spec unregister(term()) :: :ok | {:error, :invalid_args}
  def unregister(name) do
    with {:ok, name} <- Text.name(name), do: Functions.delete(name)
  end
end
