// Runs a deployed module on images, with TVM's runtime and no Python.
//
//   deploy FOLDER/module.so images.npy outputs.npy
//
// images.npy: float32 [n, channels, height, width]; any n. outputs.npy: float32 [n, classes].
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/function.h>

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

namespace ffi = tvm::ffi;

namespace {

constexpr int64_t kBatch = 250;
constexpr int kPooledAllocator = 2;

struct Array {
  std::vector<int64_t> shape;
  std::vector<float> values;

  int64_t Row() const {
    int64_t size = 1;
    for (size_t axis = 1; axis < shape.size(); ++axis) size *= shape[axis];
    return size;
  }
};

// Reads a version 1 .npy file of little-endian float32 in C order.
Array Read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  char head[10];
  if (!file.read(head, 10) || std::string(head + 1, 5) != "NUMPY" || head[6] != 1)
    throw std::runtime_error(path + ": not a version 1 .npy file");
  const auto length = static_cast<uint8_t>(head[8]) + 256 * static_cast<uint8_t>(head[9]);
  std::string header(length, ' ');
  file.read(header.data(), length);
  if (header.find("'<f4'") == std::string::npos || header.find("False") == std::string::npos)
    throw std::runtime_error(path + ": float32 in C order is expected");
  Array array;
  const size_t open = header.find('('), close = header.find(')');
  std::string shape = header.substr(open + 1, close - open - 1) + ",";
  for (size_t at = 0, comma; (comma = shape.find(',', at)) != std::string::npos; at = comma + 1) {
    const std::string extent = shape.substr(at, comma - at);
    if (extent.find_first_of("0123456789") != std::string::npos)
      array.shape.push_back(std::stoll(extent));
  }
  if (array.shape.empty()) throw std::runtime_error(path + ": a scalar; images are expected");
  array.values.resize(array.shape[0] * array.Row());
  file.read(reinterpret_cast<char*>(array.values.data()), array.values.size() * sizeof(float));
  if (!file) throw std::runtime_error(path + ": truncated");
  return array;
}

void Write(const std::string& path, const Array& array) {
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (";
  for (int64_t extent : array.shape) header += std::to_string(extent) + ", ";
  header += "), }";
  header.resize((header.size() + 1 + 10 + 63) / 64 * 64 - 11, ' ');
  header += '\n';
  std::ofstream file(path, std::ios::binary);
  const char head[10] = {'\x93', 'N', 'U', 'M', 'P', 'Y', 1, 0, static_cast<char>(header.size()),
                         static_cast<char>(header.size() >> 8)};
  file.write(head, 10);
  file << header;
  file.write(reinterpret_cast<const char*>(array.values.data()),
             array.values.size() * sizeof(float));
  if (!file) throw std::runtime_error(path + ": cannot write");
}

// A tensor in host memory, aligned as TVM's kernels want it.
struct HostAllocator {
  void AllocData(DLTensor* tensor) {
    const size_t bytes = (ffi::GetDataSize(*tensor) + 255) / 256 * 256;
    tensor->data = std::aligned_alloc(256, bytes == 0 ? 256 : bytes);
    if (tensor->data == nullptr) throw std::bad_alloc();
  }
  void FreeData(DLTensor* tensor) { std::free(tensor->data); }
};

Array Run(const ffi::Module& machine, const Array& images) {
  const ffi::Function main = machine->GetFunction("main").value();
  Array outputs;
  for (int64_t start = 0; start < images.shape[0]; start += kBatch) {
    std::vector<int64_t> shape = images.shape;
    shape[0] = std::min(kBatch, images.shape[0] - start);
    ffi::Tensor input = ffi::Tensor::FromNDAlloc(HostAllocator(), ffi::Shape(shape),
                                                 DLDataType{kDLFloat, 32, 1}, DLDevice{kDLCPU, 0});
    const float* first = images.values.data() + start * images.Row();
    std::copy(first, first + shape[0] * images.Row(), static_cast<float*>(input.data_ptr()));
    const ffi::Tensor result = main(input).cast<ffi::Tensor>();
    const float* values = static_cast<const float*>(result.data_ptr());
    outputs.shape = {images.shape[0], result.size(1)};
    outputs.values.insert(outputs.values.end(), values, values + result.numel());
  }
  return outputs;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: deploy module.so images.npy outputs.npy\n";
    return 2;
  }
  try {
    const ffi::Module library = ffi::Module::LoadFromFile(argv[1]);
    const ffi::Module machine =
        library->GetFunction("vm_load_executable").value()().cast<ffi::Module>();
    machine->GetFunction("vm_initialization").value()(static_cast<int>(kDLCPU), 0,
                                                      kPooledAllocator);
    Write(argv[3], Run(machine, Read(argv[2])));
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << "\n";
    return 2;
  }
}
